//! The one HTTP exchange of a phone besides the upgrade: a POST with limits, over TLS.
//!
//! Written out because a phone carries no HTTP stack: one request, `Connection: close`, one answer of
//! known length. Anything else is an error, and an answer is worth only what its signatures are.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest head of an answer, bytes.
const HEAD_BYTES: usize = 8 << 10;
/// Most headers of an answer.
const HEADERS: usize = 64;
/// Longest body of an answer, bytes.
pub(crate) const BODY_BYTES: usize = 64 << 10;
/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// No answer, or one that is not HTTP or too long.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the answer is not one of ours")]
    Malformed,
}

/// Posts CBOR and reads the answer.
pub(crate) async fn post(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    path: &str,
    body: &[u8],
) -> Result<Answer, HttpError> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/cbor\r\n\
         Accept: application/cbor\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    stream.flush().await?;
    read(&mut stream).await
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Answer, HttpError> {
    let mut bytes = Vec::new();
    let (mut answer, start, length) = loop {
        if let Some(head) = parse(&bytes)? {
            break head;
        }
        if bytes.len() >= HEAD_BYTES || !more(stream, &mut bytes, HEAD_BYTES).await? {
            return Err(HttpError::Malformed);
        }
    };
    let end = start + length;
    while bytes.len() < end {
        if !more(stream, &mut bytes, end).await? {
            return Err(HttpError::Malformed);
        }
    }
    answer.body = bytes[start..end].to_vec();
    Ok(answer)
}

/// Reads on, never past `limit` bytes in all; `false` at the end of the stream.
async fn more(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, HttpError> {
    let mut part = stream.take(limit.saturating_sub(bytes.len()) as u64);
    Ok(part.read_buf(bytes).await? > 0)
}

/// The head, where the body starts and how long it is; `None` while the head is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(bytes).map_err(|_| HttpError::Malformed)? {
        httparse::Status::Complete(start) => start,
        httparse::Status::Partial => return Ok(None),
    };
    let value = |name: &str| {
        let header = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let length = value("content-length").and_then(|text| text.trim().parse().ok());
    let length = length
        .filter(|length| *length <= BODY_BYTES)
        .ok_or(HttpError::Malformed)?;
    let answer = Answer {
        status: response.code.ok_or(HttpError::Malformed)?,
        retry_after: value("retry-after").and_then(seconds),
        body: Vec::new(),
    };
    Ok(Some((answer, start, length)))
}

/// `Retry-After` in seconds; dates are passed over, since the phone's clock may be years off.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(text: &[u8]) -> Result<Answer, HttpError> {
        read(&mut &*text).await
    }

    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let text = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\ncontent-length: 2\r\n\r\nhimore";
        let answer = answer(text).await.unwrap();
        assert_eq!((answer.status, answer.body), (429, b"hi".to_vec()));
        assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn limits_hold_at_the_limit_and_one_past_it() {
        let body = |length: usize| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            [head.into_bytes(), vec![b'x'; length]].concat()
        };
        assert_eq!(
            answer(&body(BODY_BYTES)).await.unwrap().body.len(),
            BODY_BYTES
        );
        assert!(answer(&body(BODY_BYTES + 1)).await.is_err());
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; HEAD_BYTES]].concat();
        assert!(answer(&endless).await.is_err());
    }

    #[tokio::test]
    async fn half_an_answer_is_none() {
        for text in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(answer(text.as_bytes()).await.is_err(), "{text}");
        }
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi";
        assert!(answer(cut).await.is_err());
        let unbounded = b"HTTP/1.1 200 OK\r\n\r\nhi";
        assert!(answer(unbounded).await.is_err());
    }
}
