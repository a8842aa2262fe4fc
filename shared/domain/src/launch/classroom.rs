//! The classrooms that lessons are held in. What a vendor can do stands in its own module of `providers`; where one is
//! chosen, the compiler sees to it that every classroom is thought of.

use crate::charge::payment::UnknownWord;
use serde::Serialize;
use std::str::FromStr;

/// Where a lesson is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Classroom {
    /// An online whiteboard with video, whose rooms are opened by a launch.
    #[default]
    Lessonspace,
    /// Video rooms made by our own server, at LiveKit's cloud or on one's own machines.
    #[serde(rename = "livekit")]
    LiveKit,
    /// Whiteboards that stay, at Pencil Spaces, where people have accounts.
    #[serde(rename = "pencilspaces")]
    PencilSpaces,
}

impl Classroom {
    /// Every classroom.
    pub const ALL: [Self; 3] = [Self::Lessonspace, Self::LiveKit, Self::PencilSpaces];

    /// The word in the database and in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lessonspace => "lessonspace",
            Self::LiveKit => "livekit",
            Self::PencilSpaces => "pencilspaces",
        }
    }

    /// Whether people can enter its rooms only through our launch. Then who never pressed Join was not there
    /// (RULES.md#attendance-exclusive).
    pub fn is_entered_through_us(self) -> bool {
        match self {
            Self::Lessonspace | Self::LiveKit | Self::PencilSpaces => true,
        }
    }

    /// Whether the same room is opened again if its opening is asked for twice. Where it is not, whoever does not know
    /// what became of an earlier call looks for the room before they ask again.
    pub fn opens_the_same_room_again(self) -> bool {
        match self {
            Self::Lessonspace | Self::LiveKit => true,
            Self::PencilSpaces => false,
        }
    }
}

impl FromStr for Classroom {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|classroom| classroom.word() == word).ok_or(UnknownWord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The compiler asks for each new one here, and the story below for it in `ALL`.
    fn after(classroom: Option<Classroom>) -> Option<Classroom> {
        match classroom {
            None => Some(Classroom::Lessonspace),
            Some(Classroom::Lessonspace) => Some(Classroom::LiveKit),
            Some(Classroom::LiveKit) => Some(Classroom::PencilSpaces),
            Some(Classroom::PencilSpaces) => None,
        }
    }

    #[test]
    fn all_of_them_are_listed() {
        let all = std::iter::successors(after(None), |classroom| after(Some(*classroom)));
        assert_eq!(all.collect::<Vec<_>>(), Classroom::ALL);
    }

    #[test]
    fn a_classroom_that_nobody_knows_is_none_of_ours() {
        for classroom in Classroom::ALL {
            assert_eq!(classroom.word().parse(), Ok(classroom));
        }
        assert_eq!("elsewhere".parse::<Classroom>(), Err(UnknownWord));
    }
}
