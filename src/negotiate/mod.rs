//! Floor 5: offer/answer (RFC 3264) as functions on the call model.
