//! What a refusal is called: the problem that a caller is told of.

use domain::charge::session::SessionRefusal;
use http::StatusCode;
use platform::problem::Problem;

/// Why a person may not do something with a session.
pub fn of_session(refusal: SessionRefusal) -> Problem {
    let conflict = |kind, detail| Problem::new(StatusCode::CONFLICT, kind, detail);
    match refusal {
        SessionRefusal::NotTheTutor => {
            let detail = "Only the tutor marks a no-show, or takes the mark back.";
            Problem::new(StatusCode::FORBIDDEN, "not-the-tutor", detail)
        }
        SessionRefusal::TooEarly(from) => {
            conflict("no-show-too-early", "The student may still come.").with_time("no_show_from", from)
        }
        SessionRefusal::Over => conflict("no-show-too-late", "The session is over."),
        SessionRefusal::Begun => conflict("session-started", "The session has started."),
        SessionRefusal::Settled(status) => settled_meanwhile().with("outcome", status.word()),
        SessionRefusal::Contradicted => conflict(
            "no-show-contradicted",
            "The student is or was in the room, or you have not been there yourself.",
        ),
    }
}

/// Somebody else has settled the session since it was read.
pub fn settled_meanwhile() -> Problem {
    let detail = "The session has an outcome already.";
    Problem::new(StatusCode::CONFLICT, "session-settled", detail)
}
