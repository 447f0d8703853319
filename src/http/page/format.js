// Formats figures and times for people.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const UNKNOWN = "not known yet";

/** 1234567 -> 1,234,567 */
export const count = (value) => (Number.isFinite(value) ? whole.format(value) : UNKNOWN);

export const rate = (value) => (!Number.isFinite(value) ? "–" : value < 10 && value % 1 ? tenths.format(value) : whole.format(value));

export const many = (value, one, more = `${one}s`) => `${count(value)} ${value === 1 ? one : more}`;

/** A share of a whole. A part above zero is never shown as 0 %, and less than the whole never as 100 %. */
export function share(part, all) {
  if (!all || !part) return "0 %";
  const percent = (100 * part) / all;
  if (part === all) return "100 %";
  if (percent < 0.1) return "< 0.1 %";
  return percent > 99.9 ? "> 99.9 %" : `${tenths.format(percent)} %`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (large, name, small, smallName) => {
    const rest = Math.floor((s % large) / small);
    return `${whole.format(Math.floor(s / large))} ${name}${rest ? ` ${rest} ${smallName}` : ""}`;
  };
  if (s < MINUTE) return `${s} s`;
  if (s < HOUR) return two(MINUTE, "min", 1, "s");
  if (s < DAY) return two(HOUR, "h", MINUTE, "min");
  return two(DAY, "d", HOUR, "h");
}

export function clock(time) {
  const date = new Date(time);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} `;
  return day + date.toLocaleTimeString("en-GB");
}

export function relative(time) {
  const seconds = (new Date(time) - Date.now()) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
}

export function micros(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  if (value < 1000) return `${value < 10 ? tenths.format(value) : whole.format(value)} µs`;
  if (value < 1e6) return `${value < 1e4 ? tenths.format(value / 1e3) : whole.format(value / 1e3)} ms`;
  return `${tenths.format(value / 1e6)} s`;
}

export const usual = (times) => (times ? `${micros(times.p50)}, p99 ${micros(times.p99)}` : "–");

export function bytes(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit && value < 100 ? tenths.format(value) : whole.format(value)} ${units[unit]}`;
}
