//! Encodes and decodes the messages of ferry's micro-benchmarks, with the same values, by the crate net-mesh, and prints
//! lines as go test -bench does. Run by `go run ./bench -only codec` where cargo is installed.
//!
//! Usage: netmesh-bench MILLISECONDS, for each line.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::adapter::net::compute::orchestrator::wire::{decode, encode};
use net::adapter::net::compute::{MigrationFailureReason, MigrationMessage};
use net::adapter::net::state::causal::{CausalEvent, CausalLink};

fn link(sequence: u64) -> CausalLink {
    CausalLink { origin_hash: 7, horizon_encoded: 0, sequence, parent_hash: sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

/// The ten messages, in the sizes of proto0500's samples.
fn samples() -> Vec<(&'static str, MigrationMessage)> {
    use MigrationMessage::*;
    let events = (0..100u64)
        .map(|i| CausalEvent { link: link(i + 1), payload: Bytes::from(vec![i as u8; 200]), received_at: i })
        .collect();
    let text = "the state could not be read!".to_string();
    vec![
        ("TakeSnapshot", TakeSnapshot { daemon_origin: 7, target_node: 8 }),
        (
            "SnapshotReady",
            SnapshotReady { daemon_origin: 7, snapshot_bytes: vec![5; 7000], seq_through: 9, chunk_index: 1, total_chunks: 3 },
        ),
        ("RestoreComplete", RestoreComplete { daemon_origin: 7, restored_seq: 9 }),
        ("ReplayComplete", ReplayComplete { daemon_origin: 7, replayed_seq: 100, target_head: link(100) }),
        ("CutoverNotify", CutoverNotify { daemon_origin: 7, target_node: 8 }),
        ("CleanupComplete", CleanupComplete { daemon_origin: 7 }),
        ("MigrationFailed", MigrationFailed { daemon_origin: 7, reason: MigrationFailureReason::StateFailed(text) }),
        ("BufferedEvents", BufferedEvents { daemon_origin: 7, events }),
        ("ActivateTarget", ActivateTarget { daemon_origin: 7 }),
        ("ActivateAck", ActivateAck { daemon_origin: 7, replayed_seq: 100 }),
    ]
}

/// Runs `once` for about as long as asked, after a tenth of that to warm up, and prints what one run took.
fn measure(name: &str, long: Duration, mut once: impl FnMut()) {
    let mut batch = 1u32;
    let warm = Instant::now();
    while warm.elapsed() < long / 10 {
        for _ in 0..batch {
            once();
        }
        batch = batch.saturating_mul(2).min(1 << 16);
    }
    let (start, mut runs) = (Instant::now(), 0u64);
    while start.elapsed() < long {
        for _ in 0..batch {
            once();
        }
        runs += u64::from(batch);
    }
    println!("Benchmark{name}-1\t{runs}\t{:.2} ns/op", start.elapsed().as_nanos() as f64 / runs as f64);
}

fn main() {
    let ms = std::env::args().nth(1).and_then(|a| a.parse().ok()).expect("usage: netmesh-bench MILLISECONDS");
    let long = Duration::from_millis(ms);
    for (name, message) in samples() {
        let wire = encode(&message).expect("encodes");
        measure(&format!("Encode/{name}"), long, || {
            drop(black_box(encode(black_box(&message))));
        });
        measure(&format!("Decode/{name}"), long, || {
            drop(black_box(decode(black_box(&wire))));
        });
    }
}
