//! MAC addresses, to tell who sent a captured frame, and to whom.

use anyhow::{Context, Result};

use super::power::inside;
use crate::host::Node;

pub(super) type Mac = [u8; 6];

/// Of an interface of a machine.
pub(super) fn of(node: &Node, interface: &str) -> Result<Mac> {
    let path = inside(node, &format!("/sys/class/net/{interface}/address"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(text.trim()).with_context(|| format!("{text:?} is no MAC address"))
}

fn parse(text: &str) -> Option<Mac> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bytes_in_hexadecimal() {
        assert_eq!(parse("02:00:5e:10:00:ff"), Some([2, 0, 0x5e, 0x10, 0, 0xff]));
        assert_eq!(parse("02:00:5e:10:00"), None);
        assert_eq!(parse("02:00:5e:10:00:xx"), None);
    }
}
