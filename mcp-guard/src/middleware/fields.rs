//! The header fields by which a request is judged, found in one pass: a search for each of them would cost more than
//! all judging.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, header};

use super::edge::invalid;
use super::headers::{SESSION, VERSION};
use crate::limits::{HEADER_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX};
use crate::refusal::{Reason, Refusal};

/// What a request's head says, as far as it matters at the edge.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) origin: Option<&'a HeaderValue>,
    pub(super) content_type: Option<&'a HeaderValue>,
    pub(super) session: Option<&'a HeaderValue>,
    pub(super) version: Option<&'a HeaderValue>,
    /// The body has been compressed.
    pub(super) is_coded: bool,
}

impl<'a> Fields<'a> {
    /// Looks through `headers`.
    ///
    /// # Errors
    ///
    /// `headers_too_large` for more fields than anybody means to send: they are kept, walked and passed on as long as the
    /// call lasts. `invalid_header` for a field that is given twice and may not be, and for two framings at once, on
    /// which two parsers may disagree (RFC 9112, section 6.1).
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        if headers.len() > HEADERS_MAX {
            return Err(too_large(format!("allowed are {HEADERS_MAX} fields")));
        }
        let mut fields = Self::default();
        let (mut content_length, mut has_transfer_encoding, mut bytes_all) = (None, false, 0);
        for (name, value) in headers {
            let bytes = name.as_str().len() + value.len();
            bytes_all += bytes;
            if bytes > HEADER_BYTES_MAX {
                return Err(too_large(format!("allowed are {HEADER_BYTES_MAX} bytes for a field")));
            }
            match *name {
                header::HOST => once(&mut fields.host, name, value)?,
                header::ORIGIN => once(&mut fields.origin, name, value)?,
                header::CONTENT_TYPE => once(&mut fields.content_type, name, value)?,
                header::CONTENT_LENGTH => once(&mut content_length, name, value)?,
                header::CONTENT_ENCODING => fields.is_coded |= value != "identity",
                header::TRANSFER_ENCODING => has_transfer_encoding = true,
                _ if *name == SESSION => once(&mut fields.session, name, value)?,
                _ if *name == VERSION => once(&mut fields.version, name, value)?,
                _ => {}
            }
        }
        if bytes_all > HEADERS_BYTES_MAX {
            return Err(too_large(format!("allowed are {HEADERS_BYTES_MAX} bytes for all fields together")));
        }
        if has_transfer_encoding && content_length.is_some() {
            return Err(invalid("`Content-Length` and `Transfer-Encoding` exclude each other"));
        }
        Ok(fields)
    }
}

/// Takes a field that may be given once.
fn once<'a>(place: &mut Option<&'a HeaderValue>, name: &HeaderName, value: &'a HeaderValue) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    }
}

/// The value of a field that may be given once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(twice(name)),
        (value, None) => Ok(value),
    }
}

fn twice(name: &HeaderName) -> Refusal {
    invalid(format!("`{name}` is given more than once"))
}

fn too_large(detail: String) -> Refusal {
    Refusal::new(Reason::HeadersTooLarge, detail)
}
