#include "common/protocol.h"

#include <array>
#include <type_traits>
#include <utility>

#include "common/protocol_codec.h"
#include "common/protocol_fields.h"

namespace vmferry {

bool from_string(std::string_view name, ErrorKind& kind) {
  kind = error_kind_from_string(name);  // a newer peer's kind reads as Internal
  return true;
}

bool from_string(std::string_view name, SourceKind& kind) {
  const Result<SourceKind> parsed = source_kind_from_string(name);
  if (parsed) kind = *parsed;
  return parsed.ok();
}

namespace protocol {
namespace {

constexpr std::array<std::pair<JobPhase, std::string_view>, 8> kPhases{{
    {JobPhase::Accepted, "accepted"},
    {JobPhase::Opening, "opening"},
    {JobPhase::Copying, "copying"},
    {JobPhase::Flushing, "flushing"},
    {JobPhase::Verifying, "verifying"},
    {JobPhase::Done, "done"},
    {JobPhase::Failed, "failed"},
    {JobPhase::Cancelled, "cancelled"},
}};

constexpr std::string_view kMoverNode = "mover:";

// In the order of Message's alternatives.
constexpr std::array<std::string_view, std::variant_size_v<Message>> kKinds{
    "hello",         "heartbeat", "accepted",       "refused",     "journal",
    "done",          "failed",    "cancelled",      "renew",       "welcome",
    "heartbeat_ack", "assign",    "assign_journal", "journal_ack", "forget",
    "cancel",        "renewed",   "limits",         "drain"};

template <std::size_t Index = 0>
Result<Message> decode_kind(std::string_view kind, const msgpack::object& map) {
  if constexpr (Index == kKinds.size()) {
    return make_error(ErrorKind::InvalidArgument, "message: unknown kind '{}'",
                      text_for_people(kind.substr(0, 64)));
  } else {
    if (kind != kKinds[Index]) return decode_kind<Index + 1>(kind, map);
    std::variant_alternative_t<Index, Message> message;
    UnpackingArchive archive(map, std::string(kind));
    fields(archive, message);
    if (std::optional<Error> error = archive.take_error()) return *std::move(error);
    return Message(std::move(message));
  }
}

struct Envelope {
  std::uint32_t version = 0;
  std::string kind;
};
template <typename A>
void fields(A& a, Envelope& m) {
  a.field("v", m.version);
  a.field("kind", m.kind);
}

Result<Message> decode_map(const msgpack::object& map) {
  if (map.type != msgpack::type::MAP) {
    return Error(ErrorKind::InvalidArgument, "message: must be a map");
  }
  Envelope envelope;
  UnpackingArchive archive(map, "message");
  fields(archive, envelope);
  if (std::optional<Error> error = archive.take_error()) return *std::move(error);
  if (envelope.version != kVersion) {
    return make_error(ErrorKind::InvalidArgument, "message: version {} is not ours ({})",
                      envelope.version, kVersion);
  }
  return decode_kind(envelope.kind, map);
}

}  // namespace

bool from_string(std::string_view name, JobPhase& phase) {
  for (const auto& [value, text] : kPhases) {
    if (text == name) {
      phase = value;
      return true;
    }
  }
  return false;
}

std::string_view to_string(JobPhase phase) {
  for (const auto& [value, text] : kPhases) {
    if (value == phase) return text;
  }
  return "failed";
}

std::string mover_node(std::string_view pod_uid) {
  return std::string(kMoverNode) + std::string(pod_uid);
}

bool is_mover_node(std::string_view node) { return node.starts_with(kMoverNode); }

WireError WireError::from(const Error& error) {
  return {.kind = error.kind(), .code = error.code(), .message = error.message()};
}

Error WireError::to_error() const { return Error(kind, code, message); }

std::string_view kind_of(const Message& message) { return kKinds[message.index()]; }

std::string encode(const Message& message) {
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  std::visit(
      [&](const auto& body) {
        CountingArchive counter;
        fields(counter, body);
        packer.pack_map(counter.count + 2);
        PackingArchive archive(packer);
        archive.field("v", kVersion);
        archive.field("kind", std::string(kind_of(message)));
        fields(archive, body);
      },
      message);
  return std::string(buffer.data(), buffer.size());
}

Result<Message> decode(std::string_view bytes) {
  if (bytes.size() > kMaxMessageBytes) {
    return make_error(ErrorKind::InvalidArgument, "message: {} bytes are too many", bytes.size());
  }
  TRY(check_shape(bytes));
  try {
    // check_shape has seen all of it, so the library's own limits are only a second fence.
    const msgpack::unpack_limit limit(kMaxItems, kMaxItems, kMaxMessageBytes, kMaxMessageBytes, 0,
                                      kMaxDepth + 1);
    const msgpack::object_handle handle =
        msgpack::unpack(bytes.data(), bytes.size(), nullptr, nullptr, limit);
    return decode_map(handle.get());
  } catch (const std::exception& error) {
    return make_error(ErrorKind::InvalidArgument, "message: {}", error.what());
  }
}

}  // namespace protocol
}  // namespace vmferry
