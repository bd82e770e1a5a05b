//! Flags to intents, rules to words, and two processes on one folder.
