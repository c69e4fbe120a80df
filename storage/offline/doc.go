// Package offline looks after an engine's directory that no engine has open: Check verifies every byte at rest, Repair
// makes a damaged directory openable and says what it dropped, Inspect prints a file for people.
//
// # What a repair does
//
// Nothing is removed: what is replaced goes to the directory "quarantine". In this order:
//
//   - CURRENT that is damaged is written again when the newest manifest is whole. A manifest that is not is rebuilt from
//     the tables that are there: all of them are merged into new ones, because without the manifest nobody knows which of
//     two tables is the newer.
//   - A log with damage in the middle is written again with its whole records. The operations in between are lost; so
//     that the numbers of the later ones stay what they were, deletions of a key that nobody uses take their place.
//   - The engine is opened, and mends its tables as it does in service: what can be read of a damaged one is written
//     again.
//
// What was lost of a table is a range of keys; what was lost of a log or with the manifest can be any key. Both are
// marked in the manifest, so that the engine answers reads there with an error, and other replicas answer the client,
// until they are refilled. With Options.Forget there is no mark: what is left is what holds, be it older, or nothing.
// That is for a node without replicas.
package offline
