//! Which problem reports each error of the engine.

use std::io;

use crate::backup::error::BackupError;
use crate::domain::settings::SettingsError;
use crate::engine::budgets::BudgetError;
use crate::engine::lists::NoSuchList;
use crate::engine::lists::operations::ListError;
use crate::engine::operations::import::ImportError;
use crate::engine::operations::lease::LeaseError;
use crate::engine::operations::return_leases::ReturnError;
use crate::engine::pool_error::{ChangeError, DeleteError};
use crate::journal::error::JournalError;

use super::code::Code;
use super::problem::{Problem, RETRY_AFTER_SECONDS};

/// Whether a primary refuses a change of files because it stops or hands over.
fn is_handing_over(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let code = match error {
            JournalError::Full => Code::StorageFull,
            JournalError::Poisoned | JournalError::TooFewReplicas => Code::NotReady,
            JournalError::Deposed => Code::NotPrimary,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        Problem::bad_request(error.to_string())
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        let code = match error {
            LeaseError::Exhausted => Code::Exhausted,
            LeaseError::Paused => Code::Paused,
            LeaseError::Deleted => return Self::pool_not_found(),
            LeaseError::HoursUnsettled
            | LeaseError::Busy
            | LeaseError::TooManyKeys
            | LeaseError::TooManyHolders
            | LeaseError::KeyPending
            | LeaseError::Deleting => Code::Overloaded,
            LeaseError::TooManyOwnKeys | LeaseError::HolderQuota(_) => {
                return Self::quota_exceeded(error.to_string(), RETRY_AFTER_SECONDS);
            }
            LeaseError::KeyStale => Code::Stale,
            LeaseError::KeyMismatch => Code::IdempotencyMismatch,
            LeaseError::Journal(error) => return error.into(),
            LeaseError::TtlOutOfBounds { .. }
            | LeaseError::EndsTooLate
            | LeaseError::CountOutOfBounds(_)
            | LeaseError::NoHolders => Code::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReturnError> for Problem {
    fn from(error: ReturnError) -> Self {
        match error {
            ReturnError::Journal(error) => error.into(),
            ReturnError::RestEndsTooLate | ReturnError::ListFull(_) => Self::bad_request(error.to_string()),
            ReturnError::List(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Settings(error) => error.into(),
            ChangeError::List(error) => error.into(),
            ChangeError::Deleted => Self::pool_not_found(),
            ChangeError::SegmentComing => Self::new(Code::Overloaded, error.to_string()),
            ChangeError::NoMoreRounds | ChangeError::TooManyGenerations => {
                Self::new(Code::BadRequest, error.to_string())
            }
            ChangeError::Io(source) => ImportError::from(source).into(),
            ChangeError::Journal(error) => error.into(),
        }
    }
}

impl From<NoSuchList> for Problem {
    fn from(error: NoSuchList) -> Self {
        let detail = format!("{error}: PUT /v1/lists/{} creates it, GET /v1/lists names all", error.0);
        Self::new(Code::ListNotFound, detail)
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        let code = match &error {
            ListError::NotFound(error) => return (*error).into(),
            ListError::Exists(_) => Code::ListExists,
            ListError::InUse { .. } => Code::ListInUse,
            ListError::TooMany(_) | ListError::TooManyNumbers(_) => Code::BadRequest,
            ListError::Import(_) => {
                let ListError::Import(error) = error else { return Self::internal(&error) };
                return error.into();
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::NotFound(_) => Self::pool_not_found(),
            DeleteError::InUse(_) => Self::new(Code::InUse, error.to_string()),
            DeleteError::Io(ref refused) if is_handing_over(refused) => {
                Self::new(Code::NotReady, error.to_string())
            }
            DeleteError::Io(_) => Self::internal(&error),
            DeleteError::Journal(error) => error.into(),
        }
    }
}

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        let code = match &error {
            BackupError::Name(_) => Code::BadRequest,
            BackupError::Exists(_) => Code::BackupExists,
            BackupError::Busy | BackupError::TooSlow => Code::Overloaded,
            BackupError::StorageFull | BackupError::Space(_) | BackupError::TooMany(_) => Code::StorageFull,
            BackupError::Ended => Code::NotReady,
            BackupError::Journal(error) => return (*error).into(),
            BackupError::Damaged(..)
            | BackupError::Unreadable(..)
            | BackupError::NotRemoved(..)
            | BackupError::Io(..) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let code = match &error {
            ImportError::PoolExists(_) => Code::PoolExists,
            ImportError::Deleted => return Self::pool_not_found(),
            ImportError::List(error) => return (*error).into(),
            ImportError::Journal(error) => return (*error).into(),
            ImportError::StorageFull
            | ImportError::Budget(BudgetError::Space { .. } | BudgetError::Numbers { .. }) => {
                Code::StorageFull
            }
            ImportError::Import(crate::numbers::list::error::ListError::TooMuchMemory { .. }) => {
                Code::TooLarge
            }
            ImportError::Import(_) | ImportError::Set(_) | ImportError::TooManyPools(_) => Code::BadRequest,
            ImportError::TooManySegments | ImportError::Budget(BudgetError::Descriptors) => Code::Overloaded,
            ImportError::Io(error) if is_handing_over(error) => Code::NotReady,
            ImportError::Io(_) | ImportError::Segment(_) => Code::Internal,
        };
        let problem = Self::new(code, error.to_string());
        match &error {
            ImportError::Import(error) => match error.line() {
                Some(line) => problem.with_members(format!(",\"line\":{line}")),
                None => problem,
            },
            _ => problem,
        }
    }
}
