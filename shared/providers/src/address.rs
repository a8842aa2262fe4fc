//! Addresses at a vendor.

use platform::outbound::VendorError;
use url::Url;

/// The address of `path` below `base`. Ids in it come from outside: one that would lead elsewhere, and our key with
/// it, is not there.
pub(crate) fn below(base: &Url, path: &str) -> Result<Url, VendorError> {
    let url = base.join(path).map_err(|_| VendorError::NotFound)?;
    let is_below = url.as_str().starts_with(base.as_str());
    is_below.then_some(url).ok_or(VendorError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_vendor() {
        let base: Url = "https://vendor.example/v1/".parse().unwrap();
        assert_eq!(below(&base, "things/7").unwrap().path(), "/v1/things/7");
        for path in [
            "../keys",
            "/keys",
            "https://elsewhere.example/",
            "//elsewhere.example/",
            "x/../../y",
        ] {
            assert_eq!(below(&base, path), Err(VendorError::NotFound), "{path}");
        }
    }
}
