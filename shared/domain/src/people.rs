//! Who a person is to a booking.
//!
//! Rules: [who-may-join](../RULES.md#who-may-join), [guardian-link](../RULES.md#guardian-link).

use crate::ids::ProfileId;
use serde::Serialize;

/// The people named on a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// The paying adult.
    pub client: ProfileId,
    /// The teacher, who leads the room.
    pub tutor: ProfileId,
    /// The learner, unless the client learns: `None` means an adult learner.
    pub student: Option<ProfileId>,
}

/// What a person is to one booking, strongest claim first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Teaches and leads the room.
    Tutor,
    /// Is taught: the student, or the client of a booking without one.
    Learner,
    /// Has an active GUARDIAN link to the booking's student, whether or not they pay.
    Guardian,
    /// Pays for a booking whose student they hold no GUARDIAN link to: sees, but does not join.
    Payer,
}

impl Role {
    /// Whether this person may enter the room. A client acts for a student only with a GUARDIAN link,
    /// so a mere payer may not sit in on somebody else's child.
    pub fn may_join(self) -> bool {
        !matches!(self, Self::Payer)
    }
}

impl Parties {
    /// The profile that is taught: the student where one is set, else the client.
    pub fn learner(&self) -> ProfileId {
        self.student.unwrap_or(self.client)
    }

    /// The role of `person`, or `None` for a stranger. `is_guardian` says whether `person` has an active
    /// GUARDIAN link to this booking's student.
    pub fn role_of(&self, person: ProfileId, is_guardian: bool) -> Option<Role> {
        if person == self.tutor {
            Some(Role::Tutor)
        } else if person == self.learner() {
            Some(Role::Learner)
        } else if self.student.is_some() && is_guardian {
            Some(Role::Guardian)
        } else if person == self.client {
            Some(Role::Payer)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn person(n: u128) -> ProfileId {
        ProfileId(Uuid::from_u128(n))
    }

    #[test]
    fn an_adult_learner_is_the_client() {
        let parties = Parties {
            client: person(1),
            tutor: person(2),
            student: None,
        };
        assert_eq!(parties.role_of(person(1), false), Some(Role::Learner));
        assert_eq!(
            parties.role_of(person(1), true),
            Some(Role::Learner),
            "no student, nobody to guard"
        );
        assert_eq!(
            parties.role_of(person(3), true),
            None,
            "a guardian of nobody is a stranger"
        );
    }

    #[test]
    fn with_a_student_the_client_is_guardian_or_payer() {
        let parties = Parties {
            client: person(1),
            tutor: person(2),
            student: Some(person(3)),
        };
        assert_eq!(parties.role_of(person(3), false), Some(Role::Learner));
        assert_eq!(parties.role_of(person(1), true), Some(Role::Guardian));
        assert_eq!(parties.role_of(person(1), false), Some(Role::Payer));
        assert_eq!(
            parties.role_of(person(4), true),
            Some(Role::Guardian),
            "the other parent"
        );
        assert_eq!(parties.role_of(person(4), false), None);
        assert!(!Role::Payer.may_join());
    }
}
