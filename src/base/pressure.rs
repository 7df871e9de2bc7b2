//! Memory: how much the process may take before it takes nothing new, so that the kernel does not decide which of its work ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::machine::memory;
use super::shutdown::{Stage, Watcher};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Of the ceiling, what must be free again before new work is taken, percent.
const RELIEF: u64 = 5;
/// Where there is a limit of the system's, the ceiling is this much of it, percent.
const OF_LIMIT: u64 = 90;

/// Whether memory is short. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<AtomicBool>);

impl Pressure {
    /// Whether new work is to be refused.
    pub fn is_high(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks after it until the process drains. `ceiling` is asked each time: bytes, 0 = none; `told` hears of every change.
    pub async fn keep(
        self,
        ceiling: impl Fn() -> u64,
        mut told: impl FnMut(bool),
        mut watcher: Watcher,
    ) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = watcher.reached(Stage::Draining) => return,
                _ = ticks.tick() => {}
            }
            let ceiling = ceiling();
            let Some(used) = resident().filter(|_| ceiling > 0) else { continue };
            let high = self.is_high();
            let relieved = used < ceiling - ceiling / 100 * RELIEF;
            if used >= ceiling && !high {
                self.set(true, &mut told);
                tracing::error!(
                    used,
                    ceiling,
                    "memory is short: new work is refused until there is more"
                );
            } else if high && relieved {
                self.set(false, &mut told);
                tracing::info!(used, ceiling, "there is memory again: new work is taken");
            }
        }
    }

    fn set(&self, high: bool, told: &mut impl FnMut(bool)) {
        self.0.store(high, Ordering::Relaxed);
        told(high);
    }
}

/// The ceiling where no setting says one: nine tenths of what the control group or `RLIMIT_AS` allows; 0 where nothing does.
pub fn default_ceiling() -> u64 {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    let space = rlimit::Resource::AS.get().ok().map(|(soft, _)| soft);
    let space = space.filter(|soft| *soft != rlimit::INFINITY);
    group.into_iter().chain(space).min().map_or(0, |limit| limit / 100 * OF_LIMIT)
}

/// What the process holds in memory, bytes.
fn resident() -> Option<u64> {
    memory().map(|[_, resident]| resident)
}

#[cfg(test)]
mod tests {
    use super::super::shutdown::Shutdown;
    use super::*;

    #[tokio::test]
    async fn it_is_high_from_the_ceiling_on_and_until_there_is_some_room_below_it() {
        let used = resident().unwrap();
        let (pressure, shutdown) = (Pressure::default(), Shutdown::default());
        let ceiling = Arc::new(std::sync::atomic::AtomicU64::new(used / 2));
        // Other tests of the process take memory meanwhile.
        let plenty = 1 << 50;
        let asked = Arc::clone(&ceiling);
        let changes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = Arc::clone(&changes);
        let keeping = tokio::spawn(pressure.clone().keep(
            move || asked.load(Ordering::Relaxed),
            move |high| noted.lock().unwrap().push(high),
            shutdown.watcher(),
        ));
        let becomes = async |high: bool| {
            for _ in 0..100 {
                if pressure.is_high() == high {
                    return;
                }
                tokio::time::sleep(LOOK / 4).await;
            }
            panic!("never {high}");
        };
        becomes(true).await;
        ceiling.store(plenty, Ordering::Relaxed);
        becomes(false).await;
        shutdown.reach(Stage::Draining);
        keeping.await.unwrap();
        assert_eq!(*changes.lock().unwrap(), [true, false]);
    }
}
