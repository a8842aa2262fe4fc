//! Letting somebody into a booking's space. The space is made once, and found again should the answer have been lost; who
//! leads in it follows the booking, also when another tutor takes over; and each visitor gets a link that works once.

use super::api::{MemberRole, PencilSpaces, PencilSpacesConfig, Space};
use crate::classrooms::{Room, RoomError, Visitor, WayIn};
use platform::config::Env;
use platform::outbound::VendorError;
use std::ops::Deref;
use url::Url;

/// The rooms at Pencil Spaces.
pub struct PencilRooms(PencilSpaces);

impl Deref for PencilRooms {
    type Target = PencilSpaces;

    fn deref(&self) -> &PencilSpaces {
        &self.0
    }
}

impl PencilRooms {
    /// Reads what [`PencilSpacesConfig::from_env`] needs. The inner `None` is a deployment without Pencil Spaces.
    #[allow(clippy::option_option, reason = "wrong, absent and there are three things")]
    pub fn from_env(env: &mut Env) -> Option<Option<Self>> {
        let config = PencilSpacesConfig::from_env(env)?;
        Some(config.map(|config| Self(PencilSpaces::new(config))))
    }

    /// Opens the booking's space to this visitor, who has an account already.
    pub async fn let_in(&self, room: &Room, visitor: &Visitor<'_>) -> Result<WayIn, RoomError> {
        let account = visitor.account.ok_or(RoomError::Configuration)?;
        let space = self.space_for(room).await?;

        self.seat(&space, visitor, account).await?;
        self.keep_from_recording(&space, room.record).await?;
        self.replace_tutors(&space, visitor, account).await;

        Ok(WayIn {
            personal_url: self.link(account, &without_navigation(&space.link)).await?,
            address: space.link,
            room: space.id,
            sealed_key: None,
            user: Some(account.to_owned()),
        })
    }

    /// The booking's space: the one that is saved, the one that an earlier call made and could not save, or a new one.
    async fn space_for(&self, room: &Room) -> Result<Space, VendorError> {
        if let Some(opened) = &room.opened {
            return self.space(opened).await;
        }
        if room.may_exist
            && let Some(space) = self.space_of(room.booking).await?
        {
            return Ok(space);
        }
        self.make_space(room.booking, room.record).await
    }

    /// Sees to it that the visitor may do in the space what they are to do. The vendor refuses to add whoever is in it by
    /// now, as somebody is whose other Join was quicker: then the space is read again.
    async fn seat(&self, space: &Space, visitor: &Visitor<'_>, account: &str) -> Result<(), VendorError> {
        let role = MemberRole::of(visitor.role);
        if space.role_of(account) == Some(role) {
            return Ok(());
        }
        let refused = match self.set_members(space, &[(account, role)]).await {
            Err(error @ VendorError::Permanent { .. }) => error,
            done => return done,
        };

        let now = self.space(&space.id).await?;
        if now.role_of(account) == Some(role) {
            return Ok(());
        }
        tracing::warn!(error = %refused, "the space has changed meanwhile");
        self.set_members(&now, &[(account, role)]).await
    }

    /// Says anew that the space may not be recorded, unless the vendor shows that it knows. A vendor that refuses has no such
    /// setting for this account, and so nothing that records by itself; unless it shows that it is set to record.
    async fn keep_from_recording(&self, space: &Space, record: bool) -> Result<(), VendorError> {
        if record || space.records_as(record) {
            return Ok(());
        }
        match self.set_recording(&space.id, record).await {
            Err(error @ VendorError::Permanent { .. }) if !space.records_as(true) => {
                tracing::error!(%error, "the vendor does not take that a space may not be recorded");
                Ok(())
            }
            done => done,
        }
    }

    /// Nobody else leads beside the tutor who comes in: one who has been replaced takes part like anybody. Should that fail,
    /// the lesson is held all the same.
    async fn replace_tutors(&self, space: &Space, visitor: &Visitor<'_>, account: &str) {
        if MemberRole::of(visitor.role) != MemberRole::Host {
            return;
        }
        let is_replaced = |id: &&str| *id != account && space.owner_id.as_deref() != Some(*id);
        let hosts = space.hosts.iter().map(|host| host.user_id.as_str());
        for host in hosts.filter(is_replaced) {
            let replaced = self.set_members(space, &[(host, MemberRole::Participant)]).await;
            if let Err(error) = replaced {
                tracing::warn!(%error, "somebody else still leads in the space");
            }
        }
    }
}

/// The page without the vendor's own navigation, which leads out of the lesson.
fn without_navigation(link: &Url) -> Url {
    let mut page = link.clone();
    page.query_pairs_mut().append_pair("standalone", "true");
    page
}
