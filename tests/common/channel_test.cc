#include "common/channel.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>

#include "common/fd.h"

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const protocol::Message kBeat = protocol::HeartbeatAck{"c", 1};

struct Pair {
  CurveKeys server = CurveKeys::generate();
  CurveKeys client = CurveKeys::generate();
  std::unique_ptr<CoordinatorChannel> coordinator;

  Pair() {
    Result<std::unique_ptr<CoordinatorChannel>> bound = CoordinatorChannel::bind(
        {"tcp://127.0.0.1:*", server, std::set<std::string>{client.public_key}});
    EXPECT_TRUE(bound);
    coordinator = *std::move(bound);
  }
  std::unique_ptr<AgentChannel> connect(const CurveKeys& keys) const {
    return connect(keys, server.public_key);
  }
  std::unique_ptr<AgentChannel> connect(const CurveKeys& keys,
                                        const std::string& server_key) const {
    Result<std::unique_ptr<AgentChannel>> channel =
        AgentChannel::connect({coordinator->address(), server_key, keys});
    EXPECT_TRUE(channel);
    return *std::move(channel);
  }
  // Messages until there is one, or the time is over.
  std::vector<Received> receive(milliseconds patience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < end) {
      Result<std::vector<Received>> received = coordinator->receive(milliseconds(50), {});
      EXPECT_TRUE(received);
      if (received && !received->empty()) return *std::move(received);
    }
    return {};
  }
  bool eventually(const std::function<bool()>& true_at_last) {
    for (int i = 0; i < 100; ++i) {
      if (true_at_last()) return true;
      (void)coordinator->receive(milliseconds(50), {});
    }
    return false;
  }
};

// Sends until the connection stands.
bool send(AgentChannel& channel, const protocol::Message& message,
          milliseconds patience = seconds(5)) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < end) {
    if (channel.send(message)) return true;
    (void)channel.receive(milliseconds(20), {});
  }
  return false;
}

UniqueFd tcp_connect(const std::string& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port =
      htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

std::string temporary_directory() {
  std::string path = testing::TempDir() + "vmferry-channel-XXXXXX";
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  return path;
}

TEST(ChannelTest, CarriesMessagesBothWaysAndTellsThePeersKey) {
  Pair pair;
  const auto agent = pair.connect(pair.client);
  ASSERT_TRUE(send(*agent, kBeat));
  const std::vector<Received> received = pair.receive(seconds(5));
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].key, pair.client.public_key);
  EXPECT_EQ(received[0].message, kBeat);

  ASSERT_TRUE(pair.coordinator->send(received[0].peer, kBeat));
  const Result<std::vector<protocol::Message>> answer = agent->receive(seconds(5), {});
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->size(), 1u);
  EXPECT_EQ(pair.coordinator->garbage_count(), 0u);
}

TEST(ChannelTest, SendingToAnUnknownPeerIsUnavailable) {
  Pair pair;
  const Result<void> sent = pair.coordinator->send("nobody", kBeat);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind(), ErrorKind::Unavailable);
}

TEST(ChannelTest, WakesUpForAnotherFd) {
  Pair pair;
  const WakeFd wake;
  wake.signal();
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(pair.coordinator->receive(seconds(10), {wake.get()}));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(5));
}

// Each stranger in turn; afterwards a known agent still gets through.
TEST(ChannelTest, StrangersAreRefusedCountedAndDoNoHarm) {
  struct Case {
    const char* name;
    std::function<std::shared_ptr<void>(Pair&)> knock;  // the answer keeps the stranger alive
  };
  const auto dealer = [](Pair& pair, const char* server_key, bool curve) -> std::shared_ptr<void> {
    struct Stranger {
      void* context = zmq_ctx_new();
      void* socket = zmq_socket(context, ZMQ_DEALER);
      ~Stranger() {
        zmq_close(socket);
        zmq_ctx_term(context);
      }
    };
    auto stranger = std::make_shared<Stranger>();
    const int linger = 0;
    zmq_setsockopt(stranger->socket, ZMQ_LINGER, &linger, sizeof linger);
    if (curve) {
      const CurveKeys keys = CurveKeys::generate();
      zmq_setsockopt(stranger->socket, ZMQ_CURVE_SERVERKEY, server_key, 41);
      zmq_setsockopt(stranger->socket, ZMQ_CURVE_PUBLICKEY, keys.public_key.c_str(), 41);
      zmq_setsockopt(stranger->socket, ZMQ_CURVE_SECRETKEY, keys.secret_key.reveal().c_str(), 41);
    }
    zmq_connect(stranger->socket, pair.coordinator->address().c_str());
    zmq_send(stranger->socket, "hello", 5, ZMQ_DONTWAIT);
    return stranger;
  };
  const Case cases[] = {
      {"right server key, but not allowed",
       [&](Pair& pair) { return dealer(pair, pair.server.public_key.c_str(), true); }},
      {"wrong server key",
       [&](Pair& pair) { return dealer(pair, CurveKeys::generate().public_key.c_str(), true); }},
      {"no key at all", [&](Pair& pair) { return dealer(pair, "", false); }},
      {"plain TCP",
       [](Pair& pair) -> std::shared_ptr<void> {
         auto fd = std::make_shared<UniqueFd>(tcp_connect(pair.coordinator->address()));
         const std::string noise = "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(4096, '\xff');
         EXPECT_GT(::send(fd->get(), noise.data(), noise.size(), MSG_NOSIGNAL), 0);
         ::shutdown(fd->get(), SHUT_WR);
         return fd;
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Pair pair;
    const std::shared_ptr<void> stranger = c.knock(pair);
    EXPECT_TRUE(pair.eventually([&] { return pair.coordinator->refused_count() > 0; }));
    const auto agent = pair.connect(pair.client);
    ASSERT_TRUE(send(*agent, kBeat));
    const std::vector<Received> received = pair.receive(seconds(5));
    ASSERT_EQ(received.size(), 1u);
    EXPECT_EQ(received[0].key, pair.client.public_key);
  }
}

TEST(ChannelTest, WithoutAListEveryCurveKeyMayComeButKeepsItsName) {
  const CurveKeys server = CurveKeys::generate();
  auto bound = CoordinatorChannel::bind({"tcp://127.0.0.1:*", server, std::nullopt});
  ASSERT_TRUE(bound);
  const CurveKeys client = CurveKeys::generate();
  auto agent = AgentChannel::connect({(*bound)->address(), server.public_key, client});
  ASSERT_TRUE(agent);
  ASSERT_TRUE(send(**agent, kBeat));
  const Result<std::vector<Received>> received = (*bound)->receive(seconds(5), {});
  ASSERT_TRUE(received);
  ASSERT_EQ(received->size(), 1u);
  EXPECT_EQ(received->front().key, client.public_key);
}

// A known key, but not our agent: what it says is garbage, counted and dropped.
TEST(ChannelTest, GarbageOfAKnownKeyIsCountedAndDropped) {
  struct Case {
    const char* name;
    bool own_routing_id;
    std::vector<std::string> frames;
    const char* says;
  };
  const Case cases[] = {
      {"not msgpack", true, {"\xc1"}, "not msgpack"},
      {"several parts", true, {"a", "b"}, "3 parts"},
      {"a routing id that is not its own", false, {protocol::encode(kBeat)}, "routing id"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Pair pair;
    void* context = zmq_ctx_new();
    void* socket = zmq_socket(context, ZMQ_DEALER);
    const int linger = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    const std::string id = c.own_routing_id ? pair.client.public_key + "/x" : "somebody";
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, id.data(), id.size());
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, pair.server.public_key.c_str(), 41);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, pair.client.public_key.c_str(), 41);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, pair.client.secret_key.reveal().c_str(), 41);
    zmq_connect(socket, pair.coordinator->address().c_str());
    for (std::size_t i = 0; i < c.frames.size(); ++i) {
      zmq_send(socket, c.frames[i].data(), c.frames[i].size(),
               i + 1 < c.frames.size() ? ZMQ_SNDMORE : 0);
    }
    EXPECT_TRUE(pair.eventually([&] { return pair.coordinator->garbage_count() == 1; }));
    EXPECT_NE(pair.coordinator->last_garbage().find(c.says), std::string::npos)
        << pair.coordinator->last_garbage();
    zmq_close(socket);
    zmq_ctx_term(context);
  }
}

TEST(ChannelTest, AWrongServerKeyNeverConnects) {
  Pair pair;
  const auto agent = pair.connect(pair.client, CurveKeys::generate().public_key);
  EXPECT_FALSE(send(*agent, kBeat, milliseconds(700)));
}

TEST(ChannelTest, KeysThatAreNoKeysAreInvalid) {
  Pair pair;
  for (const char* key :
       {"", "short",
        "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\""}) {
    const auto channel = AgentChannel::connect({pair.coordinator->address(), key, pair.client});
    ASSERT_FALSE(channel);
    EXPECT_EQ(channel.error().kind(), ErrorKind::InvalidArgument);
  }
}

TEST(CurveKeysTest, AreMadeOnceAndReadAgain) {
  const std::string path = temporary_directory() + "/agent.key";
  const Result<CurveKeys> made = CurveKeys::load_or_create(path);
  ASSERT_TRUE(made);
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const Result<CurveKeys> read = CurveKeys::load_or_create(path);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->public_key, made->public_key);
  EXPECT_EQ(*read_file(path + ".pub"), made->public_key + "\n");
}

TEST(CurveKeysTest, AKeyThatOthersMayReadIsRefused) {
  const std::string path = temporary_directory() + "/agent.key";
  ASSERT_TRUE(CurveKeys::load_or_create(path));
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const Result<CurveKeys> read = CurveKeys::load_or_create(path);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::PermissionDenied);
}

TEST(CurveKeysTest, ADamagedKeyIsRefused) {
  const std::string path = temporary_directory() + "/agent.key";
  ASSERT_TRUE(write_file_atomically(path, "nonsense\n", 0600));
  const Result<CurveKeys> read = CurveKeys::load_or_create(path);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace vmferry
