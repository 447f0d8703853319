// The last 15 minutes as this page has seen them: a sample per response of the stats.

const SAMPLES = 900;

/** Two samples this far apart or more give no rate, in seconds. */
const MAX_GAP_SECONDS = 5;
/** A start that seems later by no more is the same one. */
const MAX_CLOCK_STEP_SECONDS = 2;

const ring = () => new Float64Array(SAMPLES).fill(NaN);

export class History {
  #taken = 0;
  #times = ring();
  #p50 = ring();
  #p99 = ring();
  /** By pool: leases per second, and the total of the last sample. */
  #pools = new Map();
  #started = NaN;
  #uptime = 0;
  /** How often the daemon has begun anew since the first sample, and when it did last. */
  restarts = { count: 0, at: 0 };

  /** Adds a sample; the time is in seconds, and the daemon was `lost` since the last one, or not. */
  add(time, stats, lost) {
    const { uptime_seconds: uptime } = stats;
    const started = time - uptime;
    // Of a daemon that begins again and again, the uptime need not fall between two samples.
    if (uptime < this.#uptime || (lost && started > this.#started + MAX_CLOCK_STEP_SECONDS)) this.restarts = { count: this.restarts.count + 1, at: 1000 * started };
    [this.#uptime, this.#started] = [uptime, started];
    const slot = this.#taken % SAMPLES;
    const before = this.#taken ? this.#times[(this.#taken - 1) % SAMPLES] : NaN;
    const elapsed = time - before;
    this.#times[slot] = time;
    const latency = stats.requests?.lease?.latency_1m_us;
    const gap = elapsed >= MAX_GAP_SECONDS;
    this.#p50[slot] = gap ? NaN : (latency?.p50 ?? NaN);
    this.#p99[slot] = gap ? NaN : (latency?.p99 ?? NaN);
    for (const [name, pool] of Object.entries(stats.pools)) {
      let kept = this.#pools.get(name);
      if (!kept) this.#pools.set(name, (kept = { rates: ring(), total: NaN }));
      const leased = pool.totals.leases - kept.total;
      const known = elapsed > 0 && elapsed < MAX_GAP_SECONDS && leased >= 0;
      kept.rates[slot] = known ? leased / elapsed : NaN;
      kept.total = pool.totals.leases;
    }
    for (const name of this.#pools.keys()) if (!(name in stats.pools)) this.#pools.delete(name);
    this.#taken += 1;
  }

  rate(name) {
    const kept = this.#pools.get(name);
    return kept && this.#taken ? kept.rates[(this.#taken - 1) % SAMPLES] : NaN;
  }

  /** [times, leases per second] of a pool, oldest first. */
  rates(name) {
    return [this.#ordered(this.#times), this.#ordered(this.#pools.get(name)?.rates ?? ring())];
  }

  /** [times, p50, p99] of the time to answer a lease, in microseconds. */
  latencies() {
    return [this.#times, this.#p50, this.#p99].map((ring) => this.#ordered(ring));
  }

  #ordered(ring) {
    const kept = Math.min(this.#taken, SAMPLES);
    return Array.from({ length: kept }, (_, index) => {
      const value = ring[(this.#taken - kept + index) % SAMPLES];
      return Number.isNaN(value) ? null : value;
    });
  }
}
