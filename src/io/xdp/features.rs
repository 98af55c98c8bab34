//! What a device can do with XDP, as the kernel tells it (generic netlink family `netdev`, since Linux 6.3).

use netlink_packet_core::{NlasIterator, parse_u16, parse_u64};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use std::io;

/// `NETDEV_XDP_ACT_NDO_XMIT`: it sends frames that programs redirect to it.
const SENDS_REDIRECTED: u64 = 1 << 2;

/// `GENL_ID_CTRL`, with `CTRL_CMD_GETFAMILY` and its attributes.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET` and its attributes.
const GET_DEVICE: u8 = 1;
const DEVICE_INTERFACE: u16 = 1;
const DEVICE_FEATURES: u16 = 3;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// Header of netlink and of generic netlink.
const HEADER_BYTES: usize = 20;

/// A socket that devices are asked about on.
pub(super) struct Features {
    socket: Socket,
    family: u16,
}

impl Features {
    /// # Errors
    /// Where the kernel knows nothing of this: before Linux 6.3.
    pub(super) fn new() -> io::Result<Features> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let answer = ask(&socket, CONTROLLER, GET_FAMILY, FAMILY_NAME, b"netdev\0")?;
        let family = find(&answer, FAMILY_ID).and_then(|value| parse_u16(value).ok());
        Ok(Features { socket, family: family.ok_or(io::ErrorKind::Unsupported)? })
    }

    /// Whether the device sends frames that programs redirect to it. A veth does while its other end receives by NAPI.
    pub(super) fn sends_redirected(&self, interface: u32) -> io::Result<bool> {
        let answer = ask(&self.socket, self.family, GET_DEVICE, DEVICE_INTERFACE, &interface.to_ne_bytes())?;
        let features = find(&answer, DEVICE_FEATURES).and_then(|value| parse_u64(value).ok());
        Ok(features.is_some_and(|features| features & SENDS_REDIRECTED != 0))
    }
}

/// One question with one attribute; the attributes of the answer.
fn ask(socket: &Socket, family: u16, command: u8, attribute: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let attribute_bytes = 4 + value.len();
    let bytes = HEADER_BYTES + attribute_bytes.next_multiple_of(4);
    let mut message = Vec::with_capacity(bytes);
    message.extend((bytes as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend((attribute_bytes as u16).to_ne_bytes());
    message.extend(attribute.to_ne_bytes());
    message.extend(value);
    message.resize(bytes, 0);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match answer.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]])) {
        Some(NLMSG_ERROR) => {
            let code = answer.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
            Err(io::Error::from_raw_os_error(-code))
        }
        _ => Ok(answer.get(HEADER_BYTES..).unwrap_or_default().to_vec()),
    }
}

fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes).flatten().find(|attribute| attribute.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(4..length)
}
