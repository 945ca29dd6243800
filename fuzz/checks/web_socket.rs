//! Messages of WebSocket come out as they went in, up to what cannot be meant; none is longer than may be.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::channel;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::pieces::{Pieces, done};

thread_local! {
    /// Only for its clock, of which nothing waits for so long.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// A connection that is read in pieces, and takes all.
struct Wire<'a> {
    read: Pieces<'a>,
    written: Vec<u8>,
}

/// Takes two bytes as the lengths of pieces and one as the longest message; reads the rest as what a client sends, and as what
/// clients and nodes are to be sent.
pub(crate) fn check(data: &[u8]) {
    let Some(([lengths @ .., longest], bytes)) = data.split_first_chunk::<3>() else { return };
    let bytes_max = usize::from(*longest);
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        let whole = read(bytes, &[], Role::Server, bytes_max);
        assert_eq!(read(bytes, lengths, Role::Server, bytes_max), whole);
        assert!(whole.iter().all(|message| message.len() <= bytes_max && std::str::from_utf8(message).is_ok()));
        let (sent, expected) = frames(bytes, bytes_max);
        assert_eq!(read(&sent, lengths, Role::Server, bytes_max), expected);
        for (writer, reader) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
            send(bytes, writer, reader, bytes_max % 2 == 1);
        }
    });
}

/// The messages that come, half of the first piece as what has come with the handshake.
fn read(bytes: &[u8], lengths: &[u8], role: Role, bytes_max: usize) -> Vec<Bytes> {
    let (unread, rest) = bytes.split_at(bytes.len().min(lengths.first().map_or(0, |length| usize::from(*length) / 2)));
    let wire = Wire { read: Pieces::of(rest, lengths), written: Vec::new() };
    done(async {
        let bounds = super::bounds(bytes_max);
        let mut socket = WebSocketStream::from_partially_read(wire, unread.to_vec(), role, Some(bounds)).await;
        let mut messages = Vec::new();
        while let Ok(message) = super::next(&mut socket).await {
            messages.push(message);
        }
        messages
    })
}

/// Takes each byte as a frame, and a length of what comes behind it as its content; what a client sends, and what of it is heard.
fn frames(mut bytes: &[u8], bytes_max: usize) -> (Vec<u8>, Vec<Bytes>) {
    let (mut sent, mut heard, mut begun, mut is_over) = (Vec::new(), Vec::new(), None::<Vec<u8>>, false);
    while let Some(([kind, length], rest)) = bytes.split_first_chunk::<2>() {
        let content = rest.get(..usize::from(*length)).unwrap_or(rest);
        bytes = rest.get(content.len()..).unwrap_or_default();
        // The end of a message, and what it is: more of one, text, a binary one, a goodbye, a ping, a pong.
        let (is_last, opcode) = match kind % 16 {
            0..=3 => (true, 1),
            4 | 5 => (false, 1),
            6..=8 => (false, 0),
            9 | 10 => (true, 0),
            11 | 12 => (true, 9),
            13 => (true, 10),
            14 => (true, 2),
            _ => (true, 8),
        };
        let is_control = opcode >= 8;
        let content = content.get(..content.len().min(if is_control { 125 } else { 255 })).unwrap_or_default();
        frame(&mut sent, is_last, opcode, content);
        if is_over || matches!(opcode, 9 | 10) && content.len() <= bytes_max {
            continue;
        }
        let message = match (opcode, begun.take()) {
            (1, None) => content.to_vec(),
            (0, Some(begun)) => [&begun, content].concat(),
            _ => {
                is_over = true;
                continue;
            }
        };
        // What is no UTF-8 is noticed at the end of the message, if not before.
        is_over = content.len() > bytes_max || message.len() > bytes_max;
        if !is_last {
            begun = Some(message);
        } else if !is_over && std::str::from_utf8(&message).is_ok() {
            heard.push(message.into());
        } else {
            is_over = true;
        }
    }
    (sent, heard)
}

/// RFC 6455, section 5.2: a frame of a client.
fn frame(out: &mut Vec<u8>, is_last: bool, opcode: u8, content: &[u8]) {
    const MASK: [u8; 4] = [0x11, 0x80, 0, 0xff];
    out.push(u8::from(is_last) << 7 | opcode);
    match u8::try_from(content.len()) {
        Ok(length) if length < 126 => out.push(0x80 | length),
        _ => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(content.len()).expect("a short frame").to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Sends the lines of `bytes`, and looks at what the other end hears: all of them, as text.
fn send(bytes: &[u8], writer: Role, reader: Role, ends_messages: bool) {
    let lines: Vec<Bytes> = bytes.split(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect();
    let (sender, receiver) = channel(lines.len());
    lines.iter().for_each(|line| sender.try_send(line.clone()).expect("there is room"));
    drop(sender);
    let end = if ends_messages { "\n" } else { "" };
    let texts = lines.iter().map(|line| String::from_utf8_lossy(line));
    let expected: Vec<Bytes> = texts.map(|text| format!("{text}{end}").into()).collect();
    let mut wire = Wire { read: Pieces::of(&[], &[]), written: Vec::new() };
    done(async {
        let socket = WebSocketStream::from_raw_socket(&mut wire, writer, None).await;
        let patience = Duration::from_secs(60);
        super::write(socket, receiver, std::future::pending(), ends_messages, patience).await.expect("all is taken");
    });
    assert_eq!(read(&wire.written, &[], reader, 3 * bytes.len() + 1), expected);
}

impl AsyncRead for Wire<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
