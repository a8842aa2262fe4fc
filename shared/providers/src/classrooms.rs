//! The classrooms as one: whoever the vendor is, somebody is let into a room in the same way. What is particular to a
//! vendor stands in its own module.

use crate::lessonspace::LessonspaceRooms;
use crate::livekit::LiveKitRooms;
use crate::pencilspaces::{Account, PencilRooms};
use domain::ids::{BookingId, ProfileId, RoomId};
use domain::launch::classroom::Classroom;
use domain::launch::window::JoinWindow;
use domain::people::Role;
use jiff::Timestamp;
use platform::config::Env;
use platform::outbound::VendorError;
use platform::secrets::SecretError;
use url::Url;

/// The room that somebody enters.
pub struct Room {
    /// The booking whose room it is.
    pub booking: BookingId,
    /// When people may enter it.
    pub window: JoinWindow,
    /// Whether sound and picture may be recorded.
    pub record: bool,
    /// The vendor's id of it; `None` until it is opened and saved.
    pub opened: Option<RoomId>,
    /// Whether an earlier call may have opened it and could not save it.
    pub may_exist: bool,
}

/// The person who enters, as the vendor is told of them.
pub struct Visitor<'a> {
    /// The person's id with us, which the vendor keeps beside its own.
    pub profile: ProfileId,
    /// The name shown in the room.
    pub name: &'a str,
    /// The person's role. Tutors lead the room.
    pub role: Role,
    /// The vendor's id of the person's account, where it wants one.
    pub account: Option<&'a str>,
}

/// Somebody's way in, and what is kept of the room.
pub struct WayIn {
    /// The vendor's id of the room.
    pub room: RoomId,
    /// The room's address, without anybody's personal access.
    pub address: Url,
    /// This visitor's personal way in. Never stored, never logged.
    pub personal_url: Url,
    /// The key with which the room's webhooks are signed, sealed; `None` if the room has none of its own.
    pub sealed_key: Option<String>,
    /// The vendor's id of the visitor; `None` if it knows them by ours.
    pub user: Option<String>,
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// A secret of ours cannot be had right now.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The vendor refused, or did not answer.
    #[error(transparent)]
    Vendor(#[from] VendorError),
    /// An address in the configuration cannot have paths, or a key in it is none: a defect of the configuration.
    #[error("the configuration of the classroom is of no use")]
    Configuration,
    /// This deployment has no account at the vendor.
    #[error("this deployment is not connected to the classroom")]
    NotConnected,
}

/// Every classroom in which this deployment opens rooms.
pub struct Classrooms {
    lessonspace: LessonspaceRooms,
    livekit: Option<LiveKitRooms>,
    pencilspaces: Option<PencilRooms>,
}

impl Classrooms {
    /// Reads what each vendor's module needs. A vendor whose address is absent is not connected.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        // Read before any `?`, so that one failed start names everything that is missing.
        let (lessonspace, livekit) = (LessonspaceRooms::from_env(env), LiveKitRooms::from_env(env));
        let pencilspaces = PencilRooms::from_env(env);

        Some(Self {
            lessonspace: lessonspace?,
            livekit: livekit?,
            pencilspaces: pencilspaces?,
        })
    }

    /// Opens the room for this visitor, or opens it again. Safe to repeat where
    /// [`Classroom::opens_the_same_room_again`]; elsewhere `room` says what may be there already.
    pub async fn let_in(
        &self,
        classroom: Classroom,
        room: &Room,
        visitor: &Visitor<'_>,
        now: Timestamp,
    ) -> Result<WayIn, RoomError> {
        match classroom {
            Classroom::Lessonspace => self.lessonspace.let_in(room, visitor).await,
            Classroom::LiveKit => {
                let livekit = self.livekit.as_ref().ok_or(RoomError::NotConnected)?;
                livekit.let_in(room, visitor, now).await
            }
            Classroom::PencilSpaces => self.pencilspaces()?.let_in(room, visitor).await,
        }
    }

    /// What an account is to be for somebody of this role, in the vendor's words; `None` where none is wanted.
    pub fn kind_of_account(classroom: Classroom, role: Role) -> Option<&'static str> {
        match classroom {
            Classroom::Lessonspace | Classroom::LiveKit => None,
            Classroom::PencilSpaces => Some(Account::kind(role)),
        }
    }

    /// Has an account made for this person, or finds the one that an earlier call had made and could not save: the vendor
    /// makes another whenever it is asked.
    pub async fn enrol(
        &self,
        classroom: Classroom,
        visitor: &Visitor<'_>,
        may_exist: bool,
    ) -> Result<String, RoomError> {
        match classroom {
            // They know whoever enters by our id.
            Classroom::Lessonspace | Classroom::LiveKit => Ok(visitor.profile.to_string()),
            Classroom::PencilSpaces => {
                let vendor = self.pencilspaces()?;
                let account = Account {
                    profile: visitor.profile,
                    name: visitor.name,
                    role: visitor.role,
                };
                if may_exist && let Some(found) = vendor.account_of(&account).await? {
                    return Ok(found);
                }
                Ok(vendor.make_account(&account).await?)
            }
        }
    }

    fn pencilspaces(&self) -> Result<&PencilRooms, RoomError> {
        self.pencilspaces.as_ref().ok_or(RoomError::NotConnected)
    }
}
