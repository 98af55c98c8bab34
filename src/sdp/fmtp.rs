//! Format parameters whose printed form is canonical.

/// The order in which Opus parameters (RFC 7587, section 6.1) are printed.
const OPUS_ORDER: [&str; 9] = [
    "stereo",
    "sprop-stereo",
    "useinbandfec",
    "cbr",
    "usedtx",
    "maxplaybackrate",
    "sprop-maxcapturerate",
    "maxaveragebitrate",
    "minptime",
];

/// The printed form of `parameters` for the encoding `name`: Opus parameters in a fixed order and separated by `; `,
/// unknown ones last. None for encodings whose parameters are printed as they were written.
pub fn canonical(name: &str, parameters: &str) -> Option<String> {
    if !name.eq_ignore_ascii_case("opus") {
        return None;
    }
    let mut entries: Vec<&str> = parameters.split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    entries.sort_by_key(|entry| {
        let key = entry.split('=').next().unwrap_or_default().trim();
        OPUS_ORDER.iter().position(|known| known.eq_ignore_ascii_case(key)).unwrap_or(OPUS_ORDER.len())
    });
    Some(entries.join("; "))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn opus_parameters_are_ordered_and_others_untouched() {
        let opus = |parameters| canonical("OPUS", parameters);
        assert_eq!(opus("minptime=10;useinbandfec=1").as_deref(), Some("useinbandfec=1; minptime=10"));
        assert_eq!(opus("x-y=2; useinbandfec=1; stereo=0").as_deref(), Some("stereo=0; useinbandfec=1; x-y=2"));
        assert_eq!(canonical("AMR", "octet-align=1;mode-set=0,2"), None);
    }
}
