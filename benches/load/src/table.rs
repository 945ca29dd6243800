//! A report as people read it.

use std::fmt::{self, Display, Formatter};

use crate::failure::Failures;
use crate::latency::Latency;
use crate::report::{Part, Report};

/// Tables of calls, then sessions, failures and processes, one line each.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, MCP {}, HTTP/{}, {} threads; latencies in us",
            self.url, self.revision, self.http, self.threads
        )?;
        writeln!(f)?;
        self.calls(f)?;
        writeln!(f)?;
        self.others(f)?;
        for (stage, failures) in self.failures.named() {
            stage_failures(f, stage, failures)?;
        }
        self.first_connect_error.iter().try_for_each(|error| writeln!(f, "first connect: {error}"))
    }
}

impl Report {
    fn calls(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18}{:>8}{:>8}{:>10}{:>8}{:>8}{:>10}{HEADS}",
            "", "sessions", "s", "calls", "failed", "unsent", "calls/s"
        )?;
        for (index, part) in self.phases.iter().enumerate() {
            if self.phases.len() > 1 {
                row(f, &format!("phase {}", index + 1), part)?;
            }
        }
        row(f, "total", &self.total)?;
        if let Some(corrected) = &self.total.corrected_latency_us {
            writeln!(f, "{:<70}{}", "total, corrected for omitted calls", Figures(corrected))?;
        }
        for method in self.methods.iter().filter(|_| self.methods.len() > 1) {
            let (calls, failed) = (method.calls, method.calls_failed);
            writeln!(f, "{:<34}{calls:>10}{failed:>8}{:>18}{}", method.method, "", Figures(&method.latency_us))?;
        }
        writeln!(
            f,
            "{:<34}{:>10}{:>26}{}",
            "opening a session",
            self.open_latency_us.count,
            "",
            Figures(&self.open_latency_us)
        )
    }

    fn others(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let it = &self.sessions;
        write!(f, "sessions: {} opened, at most {} at a time, {} ended", it.opened, it.open_peak, it.ended)?;
        for (count, what) in
            [(it.end_refused, "end refused (405)"), (it.lost, "lost (404)"), (it.reconnects, "reconnects")]
        {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        writeln!(f)?;
        let it = &self.streams;
        if it.opened > 0 {
            writeln!(f, "streams: {} opened, at most {} at a time, {} broken", it.opened, it.open_peak, it.broken)?;
        }
        for it in &self.processes {
            let per_call = it.cpu_us_per_call.map(|micros| format!(", {micros:.1} us a call")).unwrap_or_default();
            let [rss, peak] = [it.rss_bytes, it.rss_peak_bytes].map(|bytes| bytes >> 10);
            let (name, cpu) = (&it.name, it.cpu_seconds);
            writeln!(f, "{name} ({}): {cpu:.2} s of CPU{per_call}, {rss} KiB now, {peak} KiB at most", it.processes)?;
        }
        Ok(())
    }
}

fn row(f: &mut Formatter<'_>, name: &str, part: &Part) -> fmt::Result {
    let Part { sessions, seconds, calls, calls_failed, calls_unsent, calls_per_second, .. } = part;
    let name = part.rate_per_second.map_or_else(|| name.to_owned(), |rate| format!("{name} ({rate}/s)"));
    write!(
        f,
        "{name:<18}{sessions:>8}{seconds:>8.1}{calls:>10}{calls_failed:>8}{calls_unsent:>8}{calls_per_second:>10.0}"
    )?;
    writeln!(f, "{}", Figures(&part.latency_us))
}

fn stage_failures(f: &mut Formatter<'_>, stage: &str, failures: &Failures) -> fmt::Result {
    if failures.total() == 0 {
        return Ok(());
    }
    let kinds: Vec<_> = failures.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    writeln!(f, "FAILED in {stage}: {}", kinds.join(", "))
}

const HEADS: &str = "       min      mean       p50       p90       p99     p99.9       max";

struct Figures<'a>(&'a Latency);

impl Display for Figures<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Latency { count, min, mean, p50, p90, p99, p99_9, max } = self.0;
        if *count == 0 {
            return f.write_str("         -");
        }
        write!(f, "{min:>10}{mean:>10.0}{p50:>10}{p90:>10}{p99:>10}{p99_9:>10}{max:>10}")
    }
}
