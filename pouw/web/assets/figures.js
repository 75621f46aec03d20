// Rates and percentiles, from two looks at the node's counters.

const BUCKETS = "pouw_http_request_duration_seconds_bucket";

export class Look {
  constructor(board) {
    this.at = board.at;
    this.series = board.series;
  }

  sum(name, wanted = {}) {
    return this.series
      .filter((one) => one.name === name && Object.entries(wanted).every(([key, value]) => one.labels[key] === value))
      .reduce((sum, one) => sum + one.value, 0);
  }

  by(name, label) {
    const found = new Map();
    for (const one of this.series) {
      if (one.name === name) found.set(one.labels[label], (found.get(one.labels[label]) ?? 0) + one.value);
    }
    return found;
  }

  // Requests of a route that took at most so many seconds, for each bucket.
  buckets(route) {
    const found = new Map();
    for (const one of this.series) {
      if (one.name !== BUCKETS || one.labels.route !== route) continue;
      const bound = one.labels.le === "+Inf" ? Infinity : Number(one.labels.le);
      found.set(bound, (found.get(bound) ?? 0) + one.value);
    }
    return [...found].sort(([a], [b]) => a - b);
  }
}

// A counter that is smaller than before began anew with the node.
export const grown = (before, after) => (after >= before ? after - before : after);

export function rate(before, after, name, wanted) {
  const secs = after.at - before.at;
  return secs > 0 ? grown(before.sum(name, wanted), after.sum(name, wanted)) / secs : 0;
}

// The quantile of what came between two looks, in milliseconds, by linear interpolation in its bucket; null without any.
export function quantile(before, after, route, q) {
  const old = new Map(before.buckets(route));
  const counts = after.buckets(route).map(([bound, count]) => [bound, grown(old.get(bound) ?? 0, count)]);
  const all = counts.at(-1)?.[1] ?? 0;
  if (!all) return null;
  let [low, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= q * all) {
      const high = bound === Infinity ? low : bound;
      return 1000 * (count === below ? high : low + ((high - low) * (q * all - below)) / (count - below));
    }
    [low, below] = [bound, count];
  }
  return null;
}
