#pragma once

#include "common/protocol.h"
#include "common/protocol_codec.h"

// The keys of every message and of the values inside them: the wire format, once. `M` is the
// message or const message, so that one list serves both directions. Keys are never renamed and
// never change their type; a new one is optional().
namespace vmferry {

// How enumerators come back from their names; false for an unknown one.
bool from_string(std::string_view name, ErrorKind& kind);
bool from_string(std::string_view name, SourceKind& kind);
namespace protocol {
bool from_string(std::string_view name, JobPhase& phase);
}  // namespace protocol

template <typename A, typename M>
requires std::is_same_v<std::remove_const_t<M>, TlsTrust>
void fields(A& a, M& m) {
  a.optional("ca", m.ca_pem);
  a.optional("thumbprint", m.thumbprint);
  a.optional("system_too", m.system_too);
}

template <typename A, typename M>
requires std::is_same_v<std::remove_const_t<M>, DiskEndpoint::Vddk>
void fields(A& a, M& m) {
  a.optional("server", m.server);
  a.optional("port", m.port);
  a.optional("user", m.user);
  a.optional("password", m.password);
  a.optional("thumbprint", m.thumbprint);
  a.optional("vm", m.vm_moref);
  a.optional("snapshot", m.snapshot_moref);
  a.optional("file", m.file);
  a.optional("transports", m.transports);
}

template <typename A, typename M>
requires std::is_same_v<std::remove_const_t<M>, DiskEndpoint>
void fields(A& a, M& m) {
  a.field("kind", m.kind);
  a.field("url", m.url);
  a.optional("fallback_url", m.fallback_url);
  a.optional("trust", m.trust);
  a.field("size", m.size_bytes);
  a.optional("authorization", m.authorization);
  a.optional("cookie", m.cookie);
  a.optional("identity", m.identity);
  a.optional("max_connections", m.max_connections);
  a.optional("request_bytes", m.request_bytes);
  a.optional("vddk", m.vddk);
}

}  // namespace vmferry

namespace vmferry::protocol {

template <typename M, typename T>
concept Is = std::is_same_v<std::remove_const_t<M>, T>;

template <typename A, Is<WireError> M>
void fields(A& a, M& m) {
  a.field("kind", m.kind);
  a.optional("code", m.code);
  a.field("message", people(m.message));
}

template <typename A, Is<JobStatus> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("phase", m.phase);
  a.optional("virtual", m.virtual_bytes);
  a.optional("to_move", m.to_move_bytes);
  a.optional("to_move_final", m.to_move_final);
  a.optional("moved", m.moved_bytes);
  a.optional("resumed", m.resumed_bytes);
  a.optional("zero", m.zero_bytes);
  a.optional("verified", m.verified_bytes);
  a.optional("wire", m.wire_bytes);
  a.optional("retries", m.retries);
  a.optional("reconnects", m.reconnects);
  a.optional("rate", m.bytes_per_second);
  a.optional("note", people(m.note));
  a.optional("via", people(m.via));
}

template <typename A, Is<TargetVolume> M>
void fields(A& a, M& m) {
  a.optional("claim_uid", m.claim_uid);
  a.optional("name", m.name);
  a.field("path", m.path);
  a.optional("block", m.block);
  a.optional("pod_uid", m.pod_uid);
  a.optional("volume", m.volume);
  a.optional("mover", m.mover);
}

template <typename A, Is<Hello> M>
void fields(A& a, M& m) {
  a.field("version", m.version);
  a.field("agent", m.agent);
  a.field("incarnation", m.incarnation);
  a.optional("node", m.node);
  a.optional("token", m.token);
  a.field("slots", m.slots);
  a.field("jobs", m.jobs);
  a.optional("build", m.build);
  a.optional("vddk", m.vddk);
}

template <typename A, Is<Heartbeat> M>
void fields(A& a, M& m) {
  a.field("agent", m.agent);
  a.field("incarnation", m.incarnation);
  a.field("free_slots", m.free_slots);
  a.optional("rate", m.bytes_per_second);
  a.optional("load", m.load);
  a.field("jobs", m.jobs);
  a.field("sequence", m.sequence);
}

// Messages that say no more than which attempt of which job they mean.
template <typename M>
concept JobAndAttempt = Is<M, Accepted> || Is<M, Cancelled> || Is<M, Forget> || Is<M, Cancel>;

template <typename A, JobAndAttempt M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
}

template <typename A, Is<Refused> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("error", m.error);
}

template <typename A, Is<JournalUpdate> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("epoch", m.epoch);
  a.field("identity", m.identity);
  a.optional("reset", m.reset);
  a.field("sequence", m.sequence);
  a.field("chunks", bytes(m.chunks));
}

template <typename A, Is<Done> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("status", m.status);
  a.field("digest", m.digest);
  a.field("verified", m.verified);
  a.optional("source_digest_matched", m.source_digest_matched);
  a.optional("seconds", m.seconds);
  a.optional("verify_seconds", m.verify_seconds);
  a.optional("owner", people(m.owner));
}

template <typename A, Is<Failed> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("status", m.status);
  a.field("error", m.error);
}

template <typename A, Is<RenewRequest> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("sequence", m.sequence);
  a.field("why", m.why);
}

template <typename A, Is<Welcome> M>
void fields(A& a, M& m) {
  a.field("version", m.version);
  a.field("coordinator", m.coordinator);
  a.field("heartbeat_ms", m.heartbeat_every);
  a.field("lease_ms", m.lease);
}

template <typename A, Is<HeartbeatAck> M>
void fields(A& a, M& m) {
  a.field("coordinator", m.coordinator);
  a.field("sequence", m.sequence);
}

template <typename A, Is<Assign> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.optional("import", m.import_key);
  a.optional("disk", m.disk);
  a.field("source", m.source);
  a.field("target", m.target);
  a.optional("hash", m.hash);
  a.optional("verify", m.verify);
  a.optional("compare_source_digest", m.compare_source_digest);
  a.optional("workers", m.workers);
  a.optional("limit", m.limit_bytes_per_second);
  a.optional("epoch", m.epoch);
  a.optional("identity", m.identity);
  a.optional("journal_parts", m.journal_parts);
}

template <typename A, Is<AssignJournal> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("part", m.part);
  a.field("chunks", m.chunks);
}

template <typename A, Is<JournalAck> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("sequence", m.sequence);
  a.optional("first", m.is_first);
}

template <typename A, Is<Renewed> M>
void fields(A& a, M& m) {
  a.field("job", m.job);
  a.field("attempt", m.attempt);
  a.field("sequence", m.sequence);
  a.optional("source", m.source);
  a.optional("error", m.error);
}

template <typename A, Is<Limits> M>
void fields(A& a, M& m) {
  a.optional("agent", m.agent_bytes_per_second);
  a.optional("jobs", m.job_bytes_per_second);
  a.optional("slots", m.slots);
}

template <typename A, Is<Drain> M>
void fields(A& a, M& m) {
  a.field("on", m.on);
}

}  // namespace vmferry::protocol
