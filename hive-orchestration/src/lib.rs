//! Durable multi-agent systems as a library.
