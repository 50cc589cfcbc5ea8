//! Wall-clock and processor time of a campaign: for the progress line, and for how long to go on.

/// See the module head. All times in nanoseconds.
pub(super) struct Clock {
    /// When this process began.
    begun: u64,
    cpu: u64,
    reported: u64,
    /// What earlier processes of the campaign took.
    spent: u64,
    /// Processor time of child processes.
    elsewhere: u64,
}

impl Clock {
    const REPORT_EVERY: u64 = 2_000_000_000;

    pub(super) fn start(spent: u64) -> Self {
        let begun = Self::read(rustix::time::ClockId::Monotonic);
        let cpu = cpu_now();
        Self { begun, cpu, reported: begun, spent, elsewhere: 0 }
    }

    fn read(id: rustix::time::ClockId) -> u64 {
        let time = rustix::time::clock_gettime(id);
        let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        u64::try_from(nanos).unwrap_or(0)
    }

    /// Wall-clock time of this process.
    pub(super) fn wall(&self) -> u64 {
        Self::read(rustix::time::ClockId::Monotonic).saturating_sub(self.begun)
    }

    /// Wall-clock time of the campaign.
    pub(super) fn spent(&self) -> u64 {
        self.spent.saturating_add(self.wall())
    }

    /// Processor time of this process and its children.
    pub(super) fn cpu(&self) -> u64 {
        cpu_now().saturating_sub(self.cpu).saturating_add(self.elsewhere)
    }

    pub(super) fn add_cpu(&mut self, nanos: u64) {
        self.elsewhere = self.elsewhere.saturating_add(nanos);
    }

    pub(super) fn report_due(&mut self) -> bool {
        let now = Self::read(rustix::time::ClockId::Monotonic);
        let due = now.saturating_sub(self.reported) >= Self::REPORT_EVERY;
        if due {
            self.reported = now;
        }
        due
    }
}

/// Processor time of this process.
pub(super) fn cpu_now() -> u64 {
    Clock::read(rustix::time::ClockId::ProcessCPUTime)
}
