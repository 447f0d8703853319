//! Writes metrics for Prometheus.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::histogram::DistributionSnapshot;

/// Writes metrics one after another.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl Iterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        self.gauges(name, help, unit, [(NO_LABELS, value)].into_iter())
    }

    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        self.counters(name, help, unit, [(NO_LABELS, value)].into_iter())
    }

    /// Histograms in seconds. The values are in units of which one second has `a_second`.
    pub(super) fn histograms<'s, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        (bounds, a_second): (&[f64], f64),
        values: impl Iterator<Item = (L, &'s DistributionSnapshot)>,
    ) -> fmt::Result {
        #[expect(clippy::cast_sign_loss, reason = "bounds are above zero")]
        let kept_bounds: Vec<u64> = bounds.iter().map(|bound| (bound * a_second) as u64).collect();
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, snapshot) in values {
            let (cumulative, count) = (snapshot.cumulative(&kept_bounds), snapshot.count());
            let ends = cumulative.iter().copied().chain([count]);
            let starts = std::iter::once(0).chain(cumulative.iter().copied());
            let counts = ends.zip(starts).map(|(end, start)| end.saturating_sub(start));
            let buckets: Vec<_> = bounds.iter().copied().chain([f64::INFINITY]).zip(counts).collect();
            let sum = snapshot.sum as f64 / a_second;
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// A metric with one value.
pub(super) const NO_LABELS: [(&str, &str); 0] = [];

/// A yes as 1.
pub(super) fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}
