//! `migrate [--check] [PLATFORM.sql]`: brings the database at `DATABASE_URL` up to the schema and says what it did
//! and found. The file makes the platform's views; without it those that are there are kept. `--check` says the
//! same and changes nothing.

use migrations::{Finding, MigrationError, Report, Target};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "a command talks to its user")]
async fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let only_checks = arguments.first().is_some_and(|first| first == "--check");
    if only_checks {
        arguments.remove(0);
    }
    let Ok(url) = std::env::var("DATABASE_URL") else {
        eprintln!("migrate: set DATABASE_URL to the database's owner connection");
        return ExitCode::FAILURE;
    };
    let file = arguments.first();
    let sql = match file.map(std::fs::read_to_string).transpose() {
        Ok(sql) => sql,
        Err(error) => {
            eprintln!("migrate: {}: {error}", file.map_or("", String::as_str));
            return ExitCode::FAILURE;
        }
    };

    let ca_pem = std::env::var("DATABASE_CA_PEM").ok();
    let target = Target {
        url: &url,
        ca_pem: ca_pem.as_deref(),
        platform: file.map(String::as_str).zip(sql.as_deref()),
        patience: migrations::PATIENCE,
    };
    let result = if only_checks {
        migrations::check(target).await
    } else {
        migrations::migrate(target).await
    };
    match result {
        Ok(report) => told(&report, only_checks),
        Err(error) => {
            if let MigrationError::Unfit(findings) = &error {
                tell(findings);
            }
            eprintln!("migrate: {error}\nmigrate: nothing was changed");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a command talks to its user")]
fn told(report: &Report, only_checks: bool) -> ExitCode {
    tell(&report.findings);
    let names = match report.applied.as_slice() {
        [] => "nothing: the schema is up to date".to_owned(),
        names => names.join(", "),
    };
    if only_checks {
        println!("migrate: would apply {names}; nothing was changed");
    } else {
        println!(
            "migrate: applied {names}; {} booking(s) of the platform are here",
            report.followed
        );
    }
    let is_fit = report.findings.iter().all(|finding| finding.severity != "error");
    if is_fit {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[allow(clippy::print_stdout, reason = "a command talks to its user")]
fn tell(findings: &[Finding]) {
    for finding in findings {
        println!("{:<7}  {}", finding.severity, finding.says);
    }
}
