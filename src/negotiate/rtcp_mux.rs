//! Multiplexing RTP and RTCP on one port (RFC 5761, section 5.1.1; RFC 8035).

use crate::call::media::RtcpMux;

/// What a request says of rtcp-mux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Always offer it.
    pub offer: bool,
    /// Offer it and count on its acceptance.
    pub require: bool,
    /// Do not offer it, but accept it from the offerer.
    pub demux: bool,
    /// Accept it from the offerer whatever the answerer says.
    pub accept: bool,
    /// Refuse it to the offerer.
    pub reject: bool,
}

/// An offer goes from `offerer` to `answerer`: what the answerer is shown.
pub fn on_offer(offerer: &mut RtcpMux, answerer: &mut RtcpMux, wishes: Wishes) {
    offerer.reply = match wishes {
        Wishes { reject: true, .. } => Some(false),
        Wishes { accept: true, .. } | Wishes { demux: true, .. } => Some(true),
        _ => None,
    };
    answerer.is_shown = match wishes {
        Wishes { offer: true, .. } | Wishes { require: true, .. } => true,
        Wishes { demux: true, .. } => false,
        _ => offerer.is_wanted || answerer.is_agreed,
    };
    answerer.is_required = answerer.is_shown && wishes.require;
    answerer.is_agreed = answerer.is_shown && (answerer.is_agreed || wishes.require);
}

/// The answer goes from `answerer` to `offerer`: what the offerer is shown.
pub fn on_answer(answerer: &mut RtcpMux, offerer: &mut RtcpMux, wishes: Wishes) {
    answerer.is_agreed = answerer.is_shown && (answerer.is_wanted || answerer.is_required);
    let reply = match wishes {
        Wishes { reject: true, .. } => Some(false),
        Wishes { accept: true, .. } => Some(true),
        _ => offerer.reply,
    };
    offerer.is_shown = offerer.is_wanted && reply.unwrap_or(answerer.is_agreed);
    offerer.is_agreed = offerer.is_shown;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Wishes = Wishes { offer: false, require: false, demux: false, accept: false, reject: false };

    /// The exchange of an offerer who wants mux or not and an answerer who takes it or not: what each is shown.
    fn exchange(wanted: bool, taken: bool, wishes: Wishes) -> (bool, bool) {
        let (mut offerer, mut answerer) = (RtcpMux { is_wanted: wanted, ..RtcpMux::default() }, RtcpMux::default());
        on_offer(&mut offerer, &mut answerer, wishes);
        answerer.is_wanted = taken && answerer.is_shown;
        let shown = answerer.is_shown;
        on_answer(&mut answerer, &mut offerer, NONE);
        (shown, offerer.is_shown)
    }

    #[test]
    fn the_matrix_of_wishes() {
        let table = [
            (true, true, NONE, (true, true)),
            (true, false, NONE, (true, false)),
            (false, true, Wishes { offer: true, ..NONE }, (true, false)),
            (true, false, Wishes { demux: true, ..NONE }, (false, true)),
            (true, false, Wishes { accept: true, ..NONE }, (true, true)),
            (true, true, Wishes { reject: true, ..NONE }, (true, false)),
            (true, true, Wishes { offer: true, reject: true, ..NONE }, (true, false)),
            (false, false, Wishes { require: true, ..NONE }, (true, false)),
        ];
        for (wanted, taken, wishes, expected) in table {
            assert_eq!(exchange(wanted, taken, wishes), expected, "{wanted} {taken} {wishes:?}");
        }
    }
}
