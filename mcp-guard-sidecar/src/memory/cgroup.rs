//! What the cgroup of the process uses and may use: version 2, and version 1.
//!
//! Files: [cgroup v2](https://docs.kernel.org/admin-guide/cgroup-v2.html), "Memory";
//! [v1](https://docs.kernel.org/admin-guide/cgroup-v1/memory.html). What is used is as kubelet counts it, without files that were
//! not used lately (the working set).

use std::fs;
use std::path::{Path, PathBuf};

/// The cgroups that the process is in, its own first, then those around it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
    names: Names,
}

/// What one of them uses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by tests too")]
pub struct Usage {
    /// What is in use, in bytes.
    pub bytes: u64,
    /// What may be.
    pub bytes_max: u64,
    /// In which part of the last ten seconds all its processes waited for memory, in percent; version 2 alone tells that.
    pub stalled: Option<f64>,
}

/// What the files are called.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Names {
    max: &'static str,
    current: &'static str,
    inactive: &'static str,
}

const V2: Names = Names { max: "memory.max", current: "memory.current", inactive: "inactive_file" };
const V1: Names =
    Names { max: "memory.limit_in_bytes", current: "memory.usage_in_bytes", inactive: "total_inactive_file" };

/// Version 1 has a number for "no limit", a little below this.
const NO_LIMIT: u64 = 1 << 62;

impl Cgroup {
    /// That of this process.
    pub fn own() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::found(&membership, Path::new("/sys/fs/cgroup"))
    }

    /// The one that `membership` (`/proc/self/cgroup`) names, where cgroups are mounted at `root`.
    fn found(membership: &str, root: &Path) -> Self {
        let mut lines = membership.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        });
        let v1 = lines.clone().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
        let v2 = lines.find(|(controllers, _)| controllers.is_empty());
        // Where both are mounted, memory is with the one that names it.
        let (root, path, names) = match (v1, v2) {
            (Some((_, path)), _) => (root.join("memory"), path, V1),
            (None, Some((_, path))) => (root.to_owned(), path, V2),
            (None, None) => return Self::default(),
        };
        let own = root.join(path.trim_start_matches('/'));
        // Within a container the path is that of the host, and what is mounted is the container's own.
        let own = if own.join(names.max).is_file() { own } else { root.clone() };
        let folders = own.ancestors().take_while(|folder| folder.starts_with(&root)).map(Path::to_path_buf).collect();
        Self { folders, names }
    }

    /// What is used by the one that is nearest to its limit; `None` where none has one.
    pub fn usage(&self) -> Option<Usage> {
        let mut stalled = None;
        let mut nearest: Option<Usage> = None;
        for folder in &self.folders {
            // The pressure of the own one is what counts for the guard.
            stalled = stalled.or_else(|| stalled_percent(&fs::read_to_string(folder.join("memory.pressure")).ok()?));
            let Some(usage) = self.of(folder) else { continue };
            let is_nearer = nearest.is_none_or(|nearest| {
                u128::from(usage.bytes) * u128::from(nearest.bytes_max)
                    > u128::from(nearest.bytes) * u128::from(usage.bytes_max)
            });
            if is_nearer {
                nearest = Some(usage);
            }
        }
        nearest.map(|usage| Usage { stalled, ..usage })
    }

    fn of(&self, folder: &Path) -> Option<Usage> {
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let bytes_max = number(self.names.max).filter(|max| (1..NO_LIMIT).contains(max))?;
        let inactive = fs::read_to_string(folder.join("memory.stat")).ok();
        let inactive = inactive.and_then(|stat| {
            stat.lines().find_map(|line| line.strip_prefix(self.names.inactive)?.trim().parse::<u64>().ok())
        });
        let bytes = number(self.names.current)?.saturating_sub(inactive.unwrap_or_default());
        Some(Usage { bytes, bytes_max, stalled: None })
    }
}

/// `avg10` of the line `full` ([PSI](https://docs.kernel.org/accounting/psi.html)).
fn stalled_percent(pressure: &str) -> Option<f64> {
    let full = pressure.lines().find_map(|line| line.strip_prefix("full "))?;
    full.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// The kernel's files are stood in for by plain ones, since a test cannot be in any cgroup it likes.
#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    #[test]
    fn version_2_is_read_without_files_that_were_not_used_lately() {
        let root = written(&[
            ("pod/own/memory.max", "1000\n"),
            ("pod/own/memory.current", "700\n"),
            ("pod/own/memory.stat", "anon 5\ninactive_file 100\nactive_file 7\n"),
            (
                "pod/own/memory.pressure",
                "some avg10=9.00 avg60=0.00\nfull avg10=12.50 avg60=1.00 avg300=0.00 total=1\n",
            ),
            ("pod/memory.max", "max\n"),
            ("pod/memory.current", "900\n"),
        ]);
        let usage = Cgroup::found("0::/pod/own\n", root.path()).usage();
        assert_eq!(usage, Some(Usage { bytes: 600, bytes_max: 1000, stalled: Some(12.5) }));
    }

    #[test]
    fn the_one_around_it_counts_if_it_is_nearer_to_its_limit() {
        let root = written(&[
            ("pod/own/memory.max", "1000"),
            ("pod/own/memory.current", "100"),
            ("pod/memory.max", "2000"),
            ("pod/memory.current", "1500"),
        ]);
        let usage = Cgroup::found("0::/pod/own", root.path()).usage().unwrap();
        assert_eq!((usage.bytes, usage.bytes_max), (1500, 2000));
    }

    #[test]
    fn version_1_is_read_where_it_has_the_memory() {
        let root = written(&[
            ("memory/a/memory.limit_in_bytes", "1000"),
            ("memory/a/memory.usage_in_bytes", "300"),
            ("memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file 50\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
            ("memory/memory.usage_in_bytes", "400"),
        ]);
        let usage = Cgroup::found("5:cpu,cpuacct:/b\n4:memory:/a\n0::/\n", root.path()).usage();
        assert_eq!(usage, Some(Usage { bytes: 250, bytes_max: 1000, stalled: None }));
    }

    #[test]
    fn within_a_container_what_is_mounted_is_its_own() {
        let root = written(&[("memory.max", "1000"), ("memory.current", "10")]);
        let usage = Cgroup::found("0::/kubepods/pod1/c1\n", root.path()).usage().unwrap();
        assert_eq!(usage.bytes_max, 1000);
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_tell() {
        let root = written(&[("memory.max", "max"), ("memory.current", "10")]);
        for membership in ["0::/", "", "junk", "1:cpu:/"] {
            assert_eq!(Cgroup::found(membership, root.path()).usage(), None, "{membership}");
        }
    }
}
