//! What is used: what visitors move, and what sandboxes take up.

use std::ops::AddAssign;

use jiff::Timestamp;

use super::{Sandbox, SandboxId, SandboxState, ShareId};

/// The length of the buckets that counts are written into, milliseconds.
pub const MINUTE: i64 = 60_000;

/// Where visitors came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Its port.
    pub port: u16,
    /// The share link that let them in, if it was one.
    pub share: Option<ShareId>,
}

/// What visitors moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were let through.
    pub requests: u64,
    /// Bytes of request bodies, and of what visitors sent into tunnels.
    pub bytes_in: u64,
    /// Bytes of responses' bodies, and of what tunnels sent to visitors.
    pub bytes_out: u64,
    /// For how long `WebSockets` and other switched connections were open, milliseconds.
    pub websocket_ms: u64,
    /// Responses by the first digit of their status, from 1 to 5.
    pub responses: [u64; 5],
}

impl Traffic {
    /// Whether there was any.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.websocket_ms += other.websocket_ms;
        for (mine, theirs) in self.responses.iter_mut().zip(other.responses) {
            *mine += theirs;
        }
    }
}

/// What was moved at a place within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// When the minute begins, milliseconds since 1970.
    pub minute: i64,
    /// Where.
    pub place: Place,
    /// What.
    pub traffic: Traffic,
}

/// What a sandbox takes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whether it runs. One that does not keeps its disk only.
    pub running: bool,
    /// The name of its size.
    pub size: Option<String>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory, MiB.
    pub memory_mb: u32,
    /// Disk, MiB.
    pub disk_mb: u32,
}

impl Shape {
    /// What a sandbox takes up as it is. One of unknown size counts as one CPU.
    pub fn of(sandbox: &Sandbox) -> Option<Self> {
        let a = &sandbox.attributes;
        let disk_mb = a.disk_size_mb.unwrap_or(0);
        let running = match sandbox.state {
            SandboxState::Running => true,
            SandboxState::Pausing | SandboxState::Paused | SandboxState::Resuming => false,
            SandboxState::Stopped if a.persistent => false,
            _ => return None,
        };
        (running || disk_mb > 0).then(|| Self {
            running,
            size: a.size.clone(),
            vcpus: a.cpu_count.unwrap_or(1),
            memory_mb: a.memory_mb.unwrap_or(0),
            disk_mb,
        })
    }

    /// What it takes up in this many milliseconds.
    pub fn over(&self, ms: u64) -> Provisioned {
        let running = if self.running { ms } else { 0 };
        Provisioned {
            vcpu_ms: running * u64::from(self.vcpus),
            wall_ms: running,
            memory_mb_s: running * u64::from(self.memory_mb) / 1000,
            disk_mb_s: ms * u64::from(self.disk_mb) / 1000,
        }
    }
}

/// To whom what a sandbox uses belongs, beside its tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The tenant's own id of the end user.
    pub external_user_id: Option<String>,
    /// The tenant's own id of the project.
    pub external_project_id: Option<String>,
    /// The tenant's own id of the workspace.
    pub external_workspace_id: Option<String>,
    /// The workspace.
    pub workspace_id: Option<String>,
}

impl Owner {
    /// To whom it belongs as it is.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self {
            external_user_id: sandbox.external_user_id.clone(),
            external_project_id: sandbox.external_project_id.clone(),
            external_workspace_id: sandbox.external_workspace_id.clone(),
            workspace_id: sandbox.attributes.workspace_id.clone(),
        }
    }
}

/// What sandboxes took up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// CPUs times milliseconds.
    pub vcpu_ms: u64,
    /// Milliseconds, whatever the size.
    pub wall_ms: u64,
    /// MiB of memory times seconds.
    pub memory_mb_s: u64,
    /// MiB of disk times seconds.
    pub disk_mb_s: u64,
}

impl AddAssign for Provisioned {
    fn add_assign(&mut self, other: Self) {
        self.vcpu_ms += other.vcpu_ms;
        self.wall_ms += other.wall_ms;
        self.memory_mb_s += other.memory_mb_s;
        self.disk_mb_s += other.disk_mb_s;
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        self.provisioned += other.provisioned;
        self.traffic += other.traffic;
    }
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// What sandboxes took up.
    pub provisioned: Provisioned,
    /// What visitors moved.
    pub traffic: Traffic,
}

/// A time for which a sandbox kept its shape and its owner.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its number.
    pub id: i64,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Whose it was.
    pub owner: Owner,
    /// What it took up.
    pub shape: Shape,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None`: it goes on.
    pub ended_at: Option<Timestamp>,
}
