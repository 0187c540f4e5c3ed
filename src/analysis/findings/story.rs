//! Findings grouped by what they are about, and ranked.

use super::{Finding, Severity, Subject};

/// All findings on one subject, the heaviest first.
#[derive(Debug)]
pub struct Story {
    /// What it is about.
    pub subject: Subject,
    /// Its findings.
    pub findings: Vec<Finding>,
}

impl Story {
    /// The heaviest finding's severity.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.findings.first().map_or(Severity::Info, |f| f.severity)
    }
    /// The findings in one sentence. What is innocent is told only where there is nothing else, with what explains it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut told: Vec<String> = Vec::new();
        let only_innocent = self.severity() == Severity::Info;
        for finding in self.findings.iter().filter(|f| only_innocent || f.severity > Severity::Info) {
            let text = match &finding.explained {
                Some(why) => format!("{} (explained: {why})", finding.what),
                None => finding.what.clone(),
            };
            if !told.contains(&text) {
                told.push(text);
            }
        }
        told.join("; ")
    }
    /// What it weighs: one heavy finding more than any number of light ones.
    fn weight(&self) -> (Severity, u64) {
        let points = |f: &Finding| match f.severity {
            Severity::Info => 0,
            Severity::Low => 1,
            Severity::Medium => 4,
            Severity::High => 16,
            Severity::Critical => 64,
        };
        (self.severity(), self.findings.iter().map(points).sum())
    }
}

/// Groups findings by subject and ranks the groups, the heaviest first; equal ones by subject.
#[must_use]
pub fn stories(findings: Vec<Finding>) -> Vec<Story> {
    let mut all: Vec<Story> = Vec::new();
    let mut places: rustc_hash::FxHashMap<Subject, usize> = rustc_hash::FxHashMap::default();
    for finding in findings {
        let at = *places.entry(finding.subject.clone()).or_insert(all.len());
        match all.get_mut(at) {
            Some(story) => story.findings.push(finding),
            None => all.push(Story { subject: finding.subject.clone(), findings: vec![finding] }),
        }
    }
    for story in &mut all {
        // Stable: findings of one weight stay in the order of the rules.
        story.findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    }
    all.sort_by(|a, b| b.weight().cmp(&a.weight()).then_with(|| a.subject.cmp(&b.subject)));
    all
}

#[cfg(test)]
mod tests {
    use super::super::RULES;
    use super::*;

    fn finding(pid: u64, severity: Severity, what: &str) -> Finding {
        let subject = Subject::Process { pid: Some(pid), name: "a.exe".into(), offset: None };
        Finding::new(RULES[0], severity, subject, what)
    }

    #[test]
    fn one_heavy_finding_weighs_more_than_many_light_ones() {
        let mut all: Vec<Finding> = (0..100).map(|i| finding(4, Severity::Low, &format!("odd {i}"))).collect();
        all.push(finding(8, Severity::Info, "fine").explained("so"));
        all.push(finding(8, Severity::High, "bad"));
        all.push(finding(8, Severity::Critical, "worse"));
        all.push(finding(8, Severity::High, "bad"));
        let told = stories(all);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].severity(), told[0].text().as_str()), (Severity::Critical, "worse; bad"));
        assert_eq!(told[1].severity(), Severity::Low);
    }
    #[test]
    fn what_is_innocent_is_told_where_there_is_nothing_else() {
        let told = stories(vec![finding(4, Severity::Low, "x").explained("so")]);
        assert_eq!((told[0].severity(), told[0].text().as_str()), (Severity::Info, "x (explained: so)"));
    }
}
