//! The power button: a key of an input device (kernel Documentation/input/event-codes.rst).

use super::Goal;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::Sender;

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// `struct input_event` on 64 bits: two words of time, type, code, value.
const EVENT: usize = 24;
/// How often new devices are looked for (milliseconds).
const LOOK: u16 = 5000;

/// Watches every device with such a key, in a thread of its own.
pub fn listen(goals: Sender<Goal>) {
    let watch = move || {
        let mut devices: BTreeMap<String, File> = BTreeMap::new();
        loop {
            open_new(&mut devices);
            let mut fds: Vec<PollFd<'_>> =
                devices.values().map(|d| PollFd::new(d.as_fd(), PollFlags::POLLIN)).collect();
            let _ = poll(&mut fds, PollTimeout::from(LOOK));
            let mut gone = Vec::new();
            for (name, device) in &mut devices {
                match pressed(device) {
                    Ok(true) if goals.send(Goal::PowerOff).is_err() => return,
                    Ok(_) => {}
                    Err(_) => gone.push(name.clone()),
                }
            }
            devices.retain(|name, _| !gone.contains(name));
        }
    };
    // Without this thread the button does nothing; signals still work.
    let _ = std::thread::Builder::new().name("button".into()).spawn(watch);
}

fn open_new(devices: &mut BTreeMap<String, File>) {
    let Ok(entries) = std::fs::read_dir("/sys/class/input") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("event") || devices.contains_key(&name) {
            continue;
        }
        let keys = std::fs::read_to_string(entry.path().join("device/capabilities/key")).unwrap_or_default();
        if !has_key(&keys, KEY_POWER) {
            continue;
        }
        let opened =
            File::options().read(true).custom_flags(libc::O_NONBLOCK).open(format!("/dev/input/{name}"));
        if let Ok(file) = opened {
            devices.insert(name, file);
        }
    }
}

/// Whether the bit is set in sysfs's text: 64-bit words in hexadecimal, the highest first.
fn has_key(text: &str, key: u16) -> bool {
    let (word, bit) = (usize::from(key / 64), key % 64);
    text.split_whitespace()
        .rev()
        .nth(word)
        .and_then(|w| u64::from_str_radix(w, 16).ok())
        .is_some_and(|w| w >> bit & 1 == 1)
}

fn pressed(device: &mut File) -> std::io::Result<bool> {
    let mut buffer = [0u8; EVENT * 64];
    let size = match device.read(&mut buffer) {
        Ok(size) => size,
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
        Err(e) => return Err(e),
    };
    Ok(buffer.get(..size).unwrap_or_default().chunks_exact(EVENT).any(is_press))
}

fn is_press(event: &[u8]) -> bool {
    let u16_at = |at: usize| event.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let value = event.get(20..24).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    u16_at(16) == Some(EV_KEY) && u16_at(18) == Some(KEY_POWER) && value == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_sysfs_are_read() {
        assert!(has_key("10000000000000 0", KEY_POWER));
        assert!(
            !has_key("10000000000000", KEY_POWER) && !has_key("", KEY_POWER) && !has_key("zz 0", KEY_POWER)
        );
    }

    #[test]
    fn a_press_is_told_from_a_release() {
        let mut event = [0u8; EVENT];
        event[16..18].copy_from_slice(&EV_KEY.to_ne_bytes());
        event[18..20].copy_from_slice(&KEY_POWER.to_ne_bytes());
        assert!(!is_press(&event));
        event[20..24].copy_from_slice(&1i32.to_ne_bytes());
        assert!(is_press(&event));
    }
}
