//! A server that speaks JSON lines, a session for each connection.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::node::{Lie, Node, log_message, with_wrong_id};

/// What it says next; nothing more after `None`.
type Said = Option<Vec<u8>>;

/// Serves one connection to its end. Requests are worked on beside each other.
pub(crate) async fn serve(node: Node, stream: DuplexStream) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (say, mut said) = mpsc::channel::<Said>(16);
    let (mut reader, mut held) = (BufReader::new(reader), Vec::new());
    let mut working = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            line = said.recv() => {
                let Some(Some(line)) = line else { return };
                if writer.write_all(&line).await.is_err() {
                    return;
                }
            }
            line = next_line(&mut reader, &mut held) => {
                let Ok(Some(line)) = line else { return };
                // What was cut off is no line.
                let Some(line) = line.strip_suffix(b"\n") else { return };
                let message: Value = match serde_json::from_slice(line) {
                    Ok(message) => message,
                    Err(error) => return node.world.breaks(format!("a node was sent {:?}: {error}", String::from_utf8_lossy(line))),
                };
                if message.get("method").is_some() && message.get("id").is_some() {
                    working.spawn(work(node.clone(), message, say.clone()));
                }
            }
            Some(_) = working.join_next() => {}
        }
    }
}

/// The next line with its end, or what there is of it at the end; what has come is `held` until it is all there.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin), held: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let read = reader.read_until(b'\n', held).await?;
    Ok((read > 0 || !held.is_empty()).then(|| std::mem::take(held)))
}

async fn work(node: Node, message: Value, say: mpsc::Sender<Said>) {
    let rng = &mut node.chance();
    let lie = node.lie(rng, &message);
    if let Some(lie) = lie {
        node.world.tell(format!("{} lies: {lie:?}", node.name));
    }
    let answer = node.answer(rng, &message).await;
    let mut lines = Vec::new();
    if rng.u8(..4) == 0 {
        lines.push(Some(line(&log_message(rng))));
    }
    match lie {
        None => lines.push(Some(line(&answer))),
        Some(Lie::Silent) => {}
        Some(Lie::Late) => {
            sleep(Duration::from_secs(rng.u64(2..10))).await;
            lines.push(Some(line(&answer)));
        }
        Some(Lie::WrongId) => lines.push(Some(line(&with_wrong_id(answer)))),
        Some(Lie::Twice) => lines.extend([Some(line(&answer)), Some(line(&answer))]),
        Some(Lie::Garbage) => lines.push(Some(b"{\"jsonrpc\": \xff\xfe\n".to_vec())),
        Some(Lie::Cut) => {
            let mut cut = line(&answer);
            cut.truncate(rng.usize(..cut.len()));
            lines.extend([Some(cut), None]);
        }
        Some(Lie::Fails) => lines.push(None),
    }
    for line in lines {
        // Whoever has hung up hears nothing more.
        let _ = say.send(line).await;
    }
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}
