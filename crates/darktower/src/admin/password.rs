//! Where a new account's password comes from: a prompt, or standard input. An
//! argument would be seen by everybody who lists processes.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail, ensure};
use auth_controller::PASSWORD_BYTES_MAX;
use zeroize::Zeroizing;

/// The first line of standard input, without its end.
pub(super) fn from_stdin() -> anyhow::Result<Zeroizing<String>> {
    first_line(io::stdin().lock()).context("the password can't be read from standard input")
}

fn first_line(input: impl io::BufRead) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    // Two bytes for the line's end, one to see that there is more.
    input
        .take(PASSWORD_BYTES_MAX as u64 + 3)
        .read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "there is none");
    Ok(Zeroizing::new(password.to_owned()))
}

/// Asks twice at the terminal, without showing what is typed.
pub(super) fn from_prompt(login: &str) -> anyhow::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask for the password; pipe it in with --password-stdin");
    }
    let ask = |prompt: String| -> anyhow::Result<Zeroizing<String>> {
        let typed = rpassword::prompt_password(prompt).context("the password can't be read")?;
        Ok(Zeroizing::new(typed))
    };
    let password = ask(format!("Password for {login}: "))?;
    let again = ask("Again: ".to_owned())?;
    ensure!(
        password == again,
        "the two passwords differ; nothing was changed"
    );
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_first_line_without_its_end() {
        let read = |text: &str| first_line(text.as_bytes()).ok().map(|p| p.to_string());
        assert_eq!(read("correct horse"), Some("correct horse".to_owned()));
        assert_eq!(
            read(" correct horse \r\nmore\n"),
            Some(" correct horse ".to_owned())
        );
        assert_eq!(read("\n"), None);
        assert_eq!(read(""), None);
        // Cut, but still too long to be taken.
        assert!(read(&"x".repeat(1000)).is_some_and(|p| p.len() > PASSWORD_BYTES_MAX));
    }
}
