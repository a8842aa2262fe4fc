//! The platform's rules about sessions, from the environment.

use domain::session::SessionPolicy;
use platform::config::Env;

/// Reads `NO_SHOW_WAIT_SHARE`, `MIN_PAYABLE_SHARE`, `PAYS_FROM_MINIMUM`, `NO_SHOW_CHARGE_SHARE`, `PAYOUT_SHARE`
/// and `CORRECTS_LATE_NEWS`; the seed's values where they are absent. Shares are fractions such as `1/3`.
pub fn session_policy(env: &mut Env) -> Option<SessionPolicy> {
    let default = SessionPolicy::default();
    let wait = env.or("NO_SHOW_WAIT_SHARE", default.no_show_wait);
    let minimum = env.or("MIN_PAYABLE_SHARE", default.min_payable);
    let charge = env.or("NO_SHOW_CHARGE_SHARE", default.no_show_charge);
    let payout = env.or("PAYOUT_SHARE", default.payout);
    let pays = env.or("PAYS_FROM_MINIMUM", default.pays_from_minimum);
    let corrects = env.or("CORRECTS_LATE_NEWS", default.corrects_late_news);
    Some(SessionPolicy {
        no_show_wait: wait?,
        min_payable: minimum?,
        pays_from_minimum: pays?,
        no_show_charge: charge?,
        payout: payout?,
        corrects_late_news: corrects?,
    })
}
