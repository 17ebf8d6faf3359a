//! Meeting links: `https://HOST/m/CODE`.

use std::str::FromStr;

use url::Url;

/// A text is not a meeting link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a meeting link: {0} (expected something like https://HOST/m/abcde-fghjk-mnpqr)")]
pub struct InvalidLink(String);

/// A link that people share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingLink {
    base: Url,
    key: String,
}

impl MeetingLink {
    /// Where the API of the linked server is, ending in `/api/v1`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}api/v1", self.base)
    }

    /// The meeting's code or UUID.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for MeetingLink {
    type Err = InvalidLink;

    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let bad = |why: &str| InvalidLink(why.to_owned());
        let url = Url::parse(text.trim()).map_err(|_| bad("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it is neither http nor https"));
        }
        let key = url
            .path()
            .strip_prefix("/m/")
            .map(|key| key.trim_end_matches('/'))
            .filter(|key| !key.is_empty() && !key.contains('/'))
            .ok_or_else(|| bad("its path is not /m/CODE"))?
            .to_owned();
        let mut base = url;
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { base, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_its_api_and_its_meeting() {
        let link: MeetingLink = "http://127.0.0.1:8080/m/abcde-fghjk-mnpqr#x"
            .parse()
            .unwrap();
        assert_eq!(link.api_url(), "http://127.0.0.1:8080/api/v1");
        assert_eq!(link.key(), "abcde-fghjk-mnpqr");
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for text in [
            "",
            "abcde",
            "ftp://x/m/a",
            "http://x/",
            "http://x/m/",
            "http://x/m/a/b",
        ] {
            assert!(text.parse::<MeetingLink>().is_err(), "{text}");
        }
    }
}
