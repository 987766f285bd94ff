#include "common/protocol.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include <msgpack.hpp>

namespace vmferry::protocol {
namespace {

JobStatus status() {
  JobStatus s;
  s.job = JobId{"uid-1/disk-1"};
  s.attempt = 3;
  s.phase = JobPhase::Copying;
  s.virtual_bytes = 1ull << 40;
  s.to_move_bytes = 500;
  s.to_move_final = true;
  s.moved_bytes = 400;
  s.resumed_bytes = 100;
  s.zero_bytes = 7;
  s.verified_bytes = 6;
  s.wire_bytes = 450;
  s.retries = 2;
  s.reconnects = 1;
  s.bytes_per_second = 12.5;
  s.note = "throttled";
  return s;
}

DiskEndpoint endpoint() {
  DiskEndpoint e;
  e.kind = SourceKind::NbdkitVddk;
  e.url = "https://esx/disk";
  e.fallback_url = "https://proxy/disk";
  e.trust = {"PEM", "AA:BB", true};
  e.size_bytes = 1 << 30;
  e.authorization = SecretString("Basic abc");
  e.cookie = SecretString("session=1");
  e.identity = {{"vCenter", "x"}, {"disk", "y"}};
  e.max_connections = 7;
  e.request_bytes = 8 << 20;
  e.vddk = {"esx",           8443, "root", SecretString("pw"), "AA", "vm-1", "snap-2",
            "[ds] a/b.vmdk", "nbd"};
  return e;
}

const JobId kJob{"uid-1/disk-1"};
const WireError kError{ErrorKind::Unavailable, "VMF-XFER-STALLED", "no bytes for 120 s"};

std::vector<Message> one_of_each() {
  Assign assign;
  assign.job = kJob;
  assign.attempt = 3;
  assign.import_key = "ns/vm";
  assign.disk = "boot";
  assign.source = endpoint();
  assign.target = {.claim_uid = "claim-uid",
                   .name = "ns/claim",
                   .path = "/volumes/disk.img",
                   .block = true,
                   .pod_uid = "pod-uid",
                   .volume = "pv-1"};
  assign.hash = "sha256";
  assign.verify = false;
  assign.compare_source_digest = true;
  assign.workers = 5;
  assign.limit_bytes_per_second = 1000;
  assign.epoch = "e1";
  assign.identity = "{}";
  assign.journal_parts = 2;
  Limits limits;
  limits.agent_bytes_per_second = 0;
  limits.job_bytes_per_second = {{"a", 1}, {"b", 2}};
  return {
      Hello{1, AgentId{"agent-1"}, "inc", "node-1", "token", 8, {status()}, "vmferry 0.1.0"},
      Heartbeat{AgentId{"agent-1"}, "inc", 2, 1e9, 0.5, {status(), status()}, 77},
      Accepted{kJob, 3},
      Refused{kJob, 3, kError},
      JournalUpdate{kJob, 3, "epoch", "identity", true, 9, std::string("\0\xff chunks", 9)},
      Done{kJob, 3, status(), "xxh3-128:00", true, true, 1.5, 0.5, "0:0, mode 0660"},
      Failed{kJob, 3, status(), kError},
      Cancelled{kJob, 3},
      RenewRequest{kJob, 3, 4, kError},
      Welcome{1, "coordinator", std::chrono::milliseconds(250), std::chrono::milliseconds(3000)},
      HeartbeatAck{"coordinator", 77},
      assign,
      AssignJournal{kJob, 3, 1, {std::string("\0a", 2), "b", ""}},
      JournalAck{kJob, 3, 9, true},
      Forget{kJob, 3},
      Cancel{kJob, 3},
      Renewed{kJob, 3, 4, endpoint(), std::nullopt},
      Renewed{kJob, 3, 4, std::nullopt, kError},
      limits,
      Limits{},
      Drain{false},
  };
}

// A message from loose keys, to say what an encoder of ours never would.
template <typename Body>
std::string raw(std::uint32_t entries, Body body) {
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> packer(buffer);
  packer.pack_map(entries);
  body(packer);
  return {buffer.data(), buffer.size()};
}

TEST(ProtocolTest, EveryMessageComesBackAsItWas) {
  std::set<std::size_t> kinds;
  for (const Message& message : one_of_each()) {
    SCOPED_TRACE(kind_of(message));
    kinds.insert(message.index());
    const Result<Message> decoded = decode(encode(message));
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(*decoded, message);
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<Message>) << "a kind is missing in the table";
}

TEST(ProtocolTest, EveryMessageCutShortAnywhereIsRefused) {
  for (const Message& message : one_of_each()) {
    SCOPED_TRACE(kind_of(message));
    const std::string whole = encode(message);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const Result<Message> decoded = decode(whole.substr(0, length));
      ASSERT_FALSE(decoded) << "at " << length;
      EXPECT_EQ(decoded.error().kind(), ErrorKind::InvalidArgument);
    }
  }
}

TEST(ProtocolTest, UnknownKeysAreIgnored) {
  const std::string bytes = raw(5, [](auto& p) {
    p.pack("v");
    p.pack(1);
    p.pack("future");
    p.pack_array(2);
    p.pack(1);
    p.pack("x");
    p.pack("kind");
    p.pack("cancel");
    p.pack("job");
    p.pack("j");
    p.pack("attempt");
    p.pack(2);
  });
  const Result<Message> decoded = decode(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(*decoded, Message(Cancel{JobId{"j"}, 2}));
}

TEST(ProtocolTest, BadMessagesAreRefusedByKindAndField) {
  const auto cancel = [](auto job, auto attempt) {
    return raw(4, [&](auto& p) {
      p.pack("v");
      p.pack(1);
      p.pack("kind");
      p.pack("cancel");
      p.pack("job");
      p.pack(job);
      p.pack("attempt");
      p.pack(attempt);
    });
  };
  std::string deep = raw(1, [](auto& p) {
    p.pack("x");
    for (int i = 0; i < 40; ++i) p.pack_array(1);
    p.pack(1);
  });
  struct Case {
    const char* name;
    std::string bytes;
    std::string says;
  };
  const Case cases[] = {
      {"nothing", "", "ends early"},
      {"plain text", "GET / HTTP/1.1\r\n", "follow its end"},
      {"a reserved byte", "\xc1", "not msgpack"},
      {"not a map", "\x01", "must be a map"},
      {"an announced array of 4 billion", "\xdd\xff\xff\xff\xff", "too many items"},
      {"an announced string of 4 GiB", "\xdb\xff\xff\xff\xff", "ends early"},
      {"an extension", "\xd4\x01\x01", "extension"},
      {"nested too deep", deep, "nested too deep"},
      {"no version",
       raw(1,
           [](auto& p) {
             p.pack("kind");
             p.pack("drain");
           }),
       "'v' is missing"},
      {"another version",
       raw(2,
           [](auto& p) {
             p.pack("v");
             p.pack(9);
             p.pack("kind");
             p.pack("drain");
           }),
       "version 9"},
      {"unknown kind",
       raw(2,
           [](auto& p) {
             p.pack("v");
             p.pack(1);
             p.pack("kind");
             p.pack("rm -rf");
           }),
       "unknown kind 'rm -rf'"},
      {"missing field",
       raw(3,
           [](auto& p) {
             p.pack("v");
             p.pack(1);
             p.pack("kind");
             p.pack("cancel");
             p.pack("job");
             p.pack("j");
           }),
       "cancel: field 'attempt' is missing"},
      {"wrong type", cancel(1, 1), "cancel: field 'job' must be a string"},
      {"negative", cancel("j", -1), "cancel: field 'attempt' must be"},
      {"too large", cancel("j", 1ull << 40), "cancel: field 'attempt' must be"},
      {"empty id", cancel("", 1), "cancel: field 'job' is empty"},
      {"trailing bytes", cancel("j", 1) + "x", "follow its end"},
      {"text too long", cancel(std::string(2 << 20, 'x'), 1), "is too long"},
      {"too large altogether", std::string(kMaxMessageBytes + 1, 'x'), "too many"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Result<Message> decoded = decode(c.bytes);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_NE(decoded.error().message().find(c.says), std::string::npos)
        << decoded.error().message();
  }
}

TEST(ProtocolTest, NamesTheInnerField) {
  Failed failed{kJob, 1, status(), kError};
  std::string bytes = encode(failed);
  const std::size_t phase = bytes.find("copying");
  bytes.replace(phase, 7, "dancing");
  const Result<Message> decoded = decode(bytes);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message(), "failed.status: field 'phase' has an unknown value");
}

TEST(ProtocolTest, ManySmallValuesAreRefusedBeforeTheyAreUnpacked) {
  const std::string bytes = raw(1, [](auto& p) {
    p.pack("x");
    p.pack_array(100);
    for (int i = 0; i < 100; ++i) {
      p.pack_array(10'000);
      for (int j = 0; j < 10'000; ++j) p.pack_nil();
    }
  });
  const Result<Message> decoded = decode(bytes);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message(), "message: too many values");
}

TEST(ProtocolTest, TextForPeopleIsCleanAndShort) {
  Failed failed{kJob, 1, status(), kError};
  failed.error.message = "bad \x1b[31m byte \xff and \xc3\xa4\n" + std::string(10'000, 'x');
  const Result<Message> decoded = decode(encode(failed));
  ASSERT_TRUE(decoded);
  const std::string& message = std::get<Failed>(*decoded).error.message;
  EXPECT_TRUE(message.starts_with("bad ?[31m byte ? and \xc3\xa4 xxx")) << message;
  EXPECT_LE(message.size(), 4096u);
}

TEST(ProtocolTest, AnErrorKindOfANewerPeerIsInternal) {
  std::string bytes = encode(Refused{kJob, 1, kError});
  const std::size_t at = bytes.find("Unavailable");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 11, "Unimaginabl");
  const Result<Message> decoded = decode(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<Refused>(*decoded).error.kind, ErrorKind::Internal);
}

}  // namespace
}  // namespace vmferry::protocol
