//! Secrets as findings.

use super::catalog::any as rule;
use super::hits::Hits;
use crate::finding::Concern;
use crate::secret::{self, Kind};

pub(super) fn run(hits: &mut Hits<'_>) {
    if !hits.wants_concern(Concern::Security) {
        return;
    }
    let file = hits.file;
    let mut last = None;
    for secret in secret::find(file.text(), file.language, file.role) {
        // One finding a line is enough, and a line may be as long as the file.
        let here = Some((file.line_at(secret.range.start), secret.kind));
        if here == last {
            continue;
        }
        last = here;
        let rule = match secret.kind {
            Kind::Key => &rule::PRIVATE_KEY,
            Kind::Token => &rule::SECRET_TOKEN,
            Kind::Credential => &rule::HARDCODED_CREDENTIAL,
        };
        let place = file.place(secret.range.start);
        hits.softer_in_tests(rule, place, format!("{} stands here for everyone to read", secret.what));
    }
}
