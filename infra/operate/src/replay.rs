//! `replay PROVIDER [EVENT]`: sends one recorded event through the queue again, whatever became of it, or
//! all parked ones of a provider. Applying is idempotent, so a replay of what was applied does no harm.

use jiff::Timestamp;
use jobs::messages::events_of;
use platform::config::Env;
use platform::database::Database;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a command talks to its user")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (provider, event) = (arguments.next(), arguments.next());
    let mut env = Env::process();
    let (Some(provider), Some(database)) = (provider, Database::from_env(&mut env)) else {
        eprintln!("replay: DATABASE_URL=… replay PROVIDER [EVENT]");
        return ExitCode::FAILURE;
    };
    let Some(queue) = events_of(&provider) else {
        eprintln!("replay: no provider is called {provider}");
        return ExitCode::FAILURE;
    };

    match store::prove::inbox::replay(&database, &provider, event.as_deref(), queue, Timestamp::now()).await {
        Ok(count) => println!("replay: {count} event(s) go out with the next tick of relay-outbox"),
        Err(error) => {
            eprintln!("replay: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
