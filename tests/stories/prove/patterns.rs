//! What a lesson comes to: each pattern of attendance, played minute by minute in each classroom that can show it, through
//! Join, the vendor, its door, the queue and the schedules.

use super::presence::{COMPLETED, EARLY, MARK, NO_STUDENT, NO_TUTOR, NOBODY, School, WITHDRAW, decided};
use crate::harness::World;
use domain::launch::classroom::Classroom;
use serde_json::{Value, json};

/// A lesson of 60 minutes, in minutes from its planned start: its number, when the tutor (T), the learner (L) and a
/// guardian (G) are in the room, what the tutor says at minute 21, each outcome with the minute in which it is decided,
/// and the classrooms that can show it: Lessonspace (L), LiveKit (K), Pencil Spaces (P). `…` is without an end, `idle` ended by the vendor
/// because nobody moved, and `told 90` is told at that minute and not before (LiveKit shows at any time who is there).
const PATTERNS: &str = "
     1 | T 0 - 61; L 0 - 61                      |                  | COMPLETED 60             | L K P
     2 | T -5 - …; L 3 - …                       |                  | COMPLETED 60             | L K
     3 | T 0 - 20, 22 - 61; L 0 - 20, 22 - 61    |                  | COMPLETED 60             | L K P
     4 | T 0 - 50, 57 - 62; L 0 - 50, 56 - 62    |                  | COMPLETED 60             | L K P
     5 | T -12 - -10, 0 - 61; L 0 - 61           |                  | COMPLETED 60             | L K P
     6 | L -10 - -8, 0 - 61; T 0 - 61            |                  | COMPLETED 60             | L K P
     7 | T 0 - 59; L 0 - 59                      |                  | COMPLETED 75             | L K P
     8 | T 0 - 57; L 0 - 57                      |                  | EARLY 75                 | L K P
     9 | T 0 - 45; L 0 - 45                      |                  | EARLY 75                 | L K P
    10 | T 0 - 45, 62 - 70; L 0 - 45, 62 - 70    |                  | COMPLETED 75             | L K P
    11 | T 0 - 20, 59 - 60.1; L 0 - 20           |                  | EARLY 75                 | L K P
    12 | T 0 - 61; L 0 - 20                      |                  | COMPLETED 60             | L K P
    13 | T 0 - 20; L 0 - 61                      |                  | EARLY 75                 | L K P
    14 | T 0 - 20, 26 - 61; L 0 - 61             |                  | COMPLETED 60             | L K P
    15 | T 0 - 20, 40 - 61; L 0 - 61             |                  | COMPLETED 60             | L K P
    16 | T -10 - 50; L -10 - 50                  |                  | COMPLETED 75             | L K P
    17 | T 10 - 70; L 0 - 70                     |                  | COMPLETED 60             | L K P
    18 | T 0 - 61; L 58 - 61                     |                  | COMPLETED 60             | L K P
    19 | T 0 - 61                                |                  | NO_STUDENT 75            | L K P
    20 | T 0 - 22                                | absent           | NO_STUDENT 60            | L K P
    21 | T 0 - 21; L 30 - 40                     |                  | NO_STUDENT 75            | L K P
    22 | T 0 - 15                                |                  | NOBODY 75                | L K P
    23 | T 0 - 15; L 18 - 61                     |                  | NO_TUTOR 75              | L K P
    24 | L 0 - 25                                |                  | NO_TUTOR 75              | L K P
    25 | T -12 - -10; L 0 - 25                   |                  | NO_TUTOR 75              | L K P
    26 |                                         |                  | NOBODY 75                | L K P
    27 | T 25 - 61; L 0 - 61                     |                  | COMPLETED 60             | L K P
    28 | T 25 - 61; L 0 - 22                     |                  | NO_TUTOR 75              | L K P
    29 | L 0 - 30; T 0 - 30                      | absent, in vain  | EARLY 75                 | L K P
    30 |                                         | absent, in vain  | NOBODY 75                | L K P
    31 | T 0 - 61; L 25 - 61                     | absent           | NO_STUDENT 60            | L K P
    32 | T 0 - 61; L 25 - 61                     | absent, at first | COMPLETED 60             | L K P
    33 | L 0 - 30; T 0 - 30; told 90             | absent           | NO_STUDENT 60, EARLY 90  | L P
    34 | T 0 - 61; G 0 - 61                      |                  | COMPLETED 60             | L K P
    45 | T 0 - 6 idle                            | absent           | NO_STUDENT 60            | L
    46 | T 0 - 6 idle                            |                  | NO_STUDENT 75            | L
    47 | T 0 - 25 idle; L 0 - 25 idle            |                  | COMPLETED 75             | L
";

/// What the tutor says at minute 21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    /// The student is absent.
    Absent,
    /// The same, and is not believed.
    AbsentInVain,
    /// The same, and at minute 26 that they came after all.
    AbsentAtFirst,
}

struct Pattern {
    number: u8,
    happens: &'static str,
    says: Says,
    outcomes: Vec<Value>,
    shown_by: &'static str,
}

impl Pattern {
    fn read(line: &'static str) -> Self {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [number, happens, says, outcomes, shown_by] = cells[..] else {
            panic!("{line}")
        };
        let outcome = |text: &str| {
            let (status, minute) = text.trim().split_once(' ').unwrap();
            let status = match status {
                "COMPLETED" => COMPLETED,
                "NO_STUDENT" => NO_STUDENT,
                "NO_TUTOR" => NO_TUTOR,
                "NOBODY" => NOBODY,
                "EARLY" => EARLY,
                other => panic!("no outcome: {other}"),
            };
            decided(status, minute.parse().unwrap())
        };
        Self {
            number: number.parse().unwrap(),
            happens,
            says: match says {
                "" => Says::Nothing,
                "absent" => Says::Absent,
                "absent, in vain" => Says::AbsentInVain,
                "absent, at first" => Says::AbsentAtFirst,
                other => panic!("nobody says {other}"),
            },
            outcomes: outcomes.split(',').map(outcome).collect(),
            shown_by,
        }
    }

    /// Pencil Spaces says nothing before a lesson is over: what no mark decides at the planned end waits until it is told
    /// that the tutor has left.
    fn wait_for_the_tutor_to_leave(&mut self) {
        let mut people = self.happens.split(';');
        let tutor = people.find_map(|stays| stays.trim().strip_prefix("T "));
        let left: Option<i64> = tutor.and_then(|stays| stays.rsplit(" - ").next()?.parse().ok());

        if let (Some(left), true) = (left, self.says != Says::Absent) {
            for outcome in self.outcomes.iter_mut().filter(|outcome| outcome[4] == 60) {
                outcome[4] = left.into();
            }
        }
    }

    /// Those that a classroom can show.
    fn shown_by(classroom: Classroom) -> Vec<Self> {
        let letter = match classroom {
            Classroom::Lessonspace => 'L',
            Classroom::LiveKit => 'K',
            Classroom::PencilSpaces => 'P',
        };
        let all = PATTERNS
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(Self::read);
        let mut shown: Vec<Self> = all.filter(|pattern| pattern.shown_by.contains(letter)).collect();
        if classroom == Classroom::PencilSpaces {
            shown.iter_mut().for_each(Self::wait_for_the_tutor_to_leave);
        }
        shown
    }
}

#[tokio::test]
async fn each_pattern_of_attendance_comes_to_its_outcome_in_its_minute_in_lessonspace() {
    each_pattern_comes_to_its_outcome(Classroom::Lessonspace).await;
}

#[tokio::test]
async fn each_pattern_of_attendance_comes_to_its_outcome_in_its_minute_in_livekit() {
    each_pattern_comes_to_its_outcome(Classroom::LiveKit).await;
}

#[tokio::test]
async fn each_pattern_of_attendance_comes_to_its_outcome_in_its_minute_in_pencilspaces() {
    each_pattern_comes_to_its_outcome(Classroom::PencilSpaces).await;
}

async fn each_pattern_comes_to_its_outcome(classroom: Classroom) {
    let patterns = Pattern::shown_by(classroom);
    let world = World::proving().await;
    let (mark, withdraw) = (
        world.function("mark-no-show").await,
        world.function("withdraw-no-show").await,
    );
    let mut school = School::open(&world, 60).await.held_in(classroom).await;
    let lines: Vec<&str> = patterns.iter().map(|pattern| pattern.happens).collect();
    let mut plays = school.plays(&lines).await;

    for minute in -15..=92 {
        school.happen(&mut plays, minute).await;
        for (pattern, play) in patterns.iter().zip(&plays) {
            let (button, sample, verdict) = match (pattern.says, minute) {
                (Says::Absent | Says::AbsentAtFirst, 21) => (&mark, MARK, "200"),
                (Says::AbsentInVain, 21) => (&mark, MARK, "409 no-show-contradicted"),
                (Says::AbsentAtFirst, 26) => (&withdraw, WITHDRAW, "200"),
                _ => continue,
            };
            let reply = school.call(button, sample, world.cast.tutor, &play.lesson).await;
            assert_eq!(
                reply.verdict(),
                verdict,
                "pattern {}: {}",
                pattern.number,
                reply.body
            );
        }
        school.tick().await;
    }

    let mut wrong = Vec::new();
    for (pattern, play) in patterns.iter().zip(&plays) {
        let seen = school.decisions(&play.lesson).await;
        if seen != pattern.outcomes {
            let (number, happens) = (pattern.number, pattern.happens);
            let (seen, expected) = (json!(seen), json!(pattern.outcomes));
            wrong.push(format!("{number} ({happens}): {seen} and not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "in {}:\n{}", classroom.word(), wrong.join("\n"));
    assert!(
        school.returned.is_empty(),
        "something told is still to be applied"
    );
    assert_eq!(world.aws.drain(&world.dead_letters).await.len(), 0);
}
