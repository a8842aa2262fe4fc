//! The platform's rules about sessions, from the environment.

use domain::charge::session::SessionPolicy;
use domain::launch::classroom::Classroom;
use platform::config::Env;

/// Reads `CLASSROOM`: where lessons are held that the platform wants nowhere else; Lessonspace if it is absent.
pub fn classroom(env: &mut Env) -> Option<Classroom> {
    env.or("CLASSROOM", Classroom::default())
}

/// Reads `NO_SHOW_WAIT_SHARE`, `MIN_PAYABLE_SHARE`, `PAYS_FROM_MINIMUM`, `NO_SHOW_CHARGE_SHARE`, `PAYOUT_SHARE`,
/// `CORRECTS_LATE_NEWS`, `ATTENDANCE`, `TOLERANCE_MINUTES`, `GAP_MINUTES`, `JOIN_OPENS_MINUTES` and
/// `JOIN_CLOSES_MINUTES`; the defaults where they are absent. Shares are fractions such as `1/3`.
pub fn session_policy(env: &mut Env) -> Option<SessionPolicy> {
    let default = SessionPolicy::default();

    // All are read before any `?`, so that one failed start names everything that is malformed.
    let wait = env.or("NO_SHOW_WAIT_SHARE", default.no_show_wait);
    let minimum = env.or("MIN_PAYABLE_SHARE", default.min_payable);
    let charge = env.or("NO_SHOW_CHARGE_SHARE", default.no_show_charge);
    let payout = env.or("PAYOUT_SHARE", default.payout);
    let pays = env.or("PAYS_FROM_MINIMUM", default.pays_from_minimum);
    let corrects = env.or("CORRECTS_LATE_NEWS", default.corrects_late_news);
    let attendance = env.or("ATTENDANCE", default.attendance);
    let tolerance = env.or("TOLERANCE_MINUTES", default.tolerance_minutes);
    let gap = env.or("GAP_MINUTES", default.gap_minutes);
    let opens = env.or("JOIN_OPENS_MINUTES", default.opens_before_minutes);
    let closes = env.or("JOIN_CLOSES_MINUTES", default.closes_after_minutes);

    Some(SessionPolicy {
        no_show_wait: wait?,
        min_payable: minimum?,
        pays_from_minimum: pays?,
        no_show_charge: charge?,
        payout: payout?,
        corrects_late_news: corrects?,
        attendance: attendance?,
        tolerance_minutes: tolerance?,
        gap_minutes: gap?,
        opens_before_minutes: opens?,
        closes_after_minutes: closes?,
    })
}
