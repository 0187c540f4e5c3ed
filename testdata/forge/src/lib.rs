//! Generator of Windows memory dumps with planted truth; shares nothing with the analyzer.
