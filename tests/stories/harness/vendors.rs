//! The vendors of a world, each served at an address of its own, and the settings by which functions find them.

use super::*;
use platform::clock::Clock;
use simulators::fapshi::{Fapshi, Service};
use simulators::lessonspace::Lessonspace;
use simulators::livekit::LiveKit;
use simulators::pencilspaces::PencilSpaces;
use simulators::serve;
use simulators::stripe::Stripe;

type Setting = (&'static str, String);

// The vendors' links name their address, which is known only once they are served: so they get a fixed name, which the
// stories never open.

/// The classrooms.
pub(super) struct Classrooms {
    pub(super) lessonspace: Lessonspace,
    pub(super) livekit: LiveKit,
    pub(super) pencilspaces: PencilSpaces,
    pub(super) settings: Vec<Setting>,
}

impl Classrooms {
    pub(super) async fn open(clock: &Clock) -> Self {
        let lessonspace = Lessonspace::new("http://vendor.story/", API_KEY);
        let vendor = serve(lessonspace.router()).await.unwrap();
        let livekit = LiveKit::new("http://rooms.story/", LIVEKIT_KEY, LIVEKIT_SECRET, clock.clone());
        let rooms = serve(livekit.router()).await.unwrap();
        let (key, secret) = (PENCIL_KEY, PENCIL_WEBHOOK_SECRET);
        let pencilspaces = PencilSpaces::new("http://spaces.story/", key, secret, clock.clone());
        let spaces = serve(pencilspaces.router()).await.unwrap();

        let settings = vec![
            ("LESSONSPACE_API_URL", format!("http://{vendor}/v2/")),
            ("LESSONSPACE_ORGANISATION", "20001".to_owned()),
            ("LESSONSPACE_API_KEY", API_KEY.to_owned()),
            ("LESSONSPACE_SECRET", WEBHOOK_SECRET.to_owned()),
            ("LIVEKIT_URL", format!("http://{rooms}/")),
            ("LIVEKIT_PAGE_URL", "https://app.story/room".to_owned()),
            ("LIVEKIT_API_KEYS", format!("{LIVEKIT_KEY}:{LIVEKIT_SECRET}")),
            ("PENCIL_API_URL", format!("http://{spaces}/public/api/")),
            ("PENCIL_API_KEY", PENCIL_KEY.to_owned()),
            ("PENCIL_WEBHOOK_SECRET", PENCIL_WEBHOOK_SECRET.to_owned()),
        ];
        Self {
            lessonspace,
            livekit,
            pencilspaces,
            settings,
        }
    }
}

/// The gateways.
pub(super) struct Gateways {
    pub(super) stripe: Stripe,
    pub(super) fapshi: Fapshi,
    pub(super) settings: Vec<Setting>,
}

impl Gateways {
    pub(super) async fn open(clock: &Clock) -> Self {
        let secret = STRIPE_WEBHOOK_SECRET;
        let stripe = Stripe::new("http://cards.story/", STRIPE_KEY, secret, clock.clone());
        let cards = serve(stripe.router()).await.unwrap();
        let service = |user: &str, key: &str| Service {
            user: user.into(),
            key: key.into(),
        };
        let fapshi = Fapshi::new(
            "http://momo.story/",
            service("collections", FAPSHI_KEY),
            service("payouts", FAPSHI_PAYOUT_KEY),
            FAPSHI_WEBHOOK_SECRET,
        );
        let momo = serve(fapshi.router()).await.unwrap();

        let methods = "card,card_on_file,mobile_money_link,mobile_money";
        let settings = vec![
            ("STRIPE_API_URL", format!("http://{cards}/")),
            ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
            ("STRIPE_WEBHOOK_SECRET", STRIPE_WEBHOOK_SECRET.to_owned()),
            ("FAPSHI_API_URL", format!("http://{momo}/")),
            ("FAPSHI_API_USER", "collections".to_owned()),
            ("FAPSHI_API_KEY", FAPSHI_KEY.to_owned()),
            ("FAPSHI_PAYOUT_USER", "payouts".to_owned()),
            ("FAPSHI_PAYOUT_KEY", FAPSHI_PAYOUT_KEY.to_owned()),
            ("FAPSHI_WEBHOOK_SECRET", FAPSHI_WEBHOOK_SECRET.to_owned()),
            ("PAYMENT_METHODS", methods.to_owned()),
            ("PAYMENT_RETURN_URL", "https://app.story/paid".to_owned()),
        ];
        Self {
            stripe,
            fapshi,
            settings,
        }
    }
}
