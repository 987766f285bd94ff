#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <atomic>
#include <cstdio>
#include <filesystem>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "coordinator/access/token_review_gate.h"
#include "coordinator/fleet/fleet.h"
#include "tests/coordinator/fleet/fake_agent.h"
#include "tests/coordinator/kube/kube_test_support.h"

namespace vmferry::access {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::FakeAgent;
using ::testing::HasSubstr;

constexpr const char* kAudience = "vmferry-coordinator";

std::string base64url(std::string_view bytes) {
  std::string text = base64_encode(bytes);
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

// The token as its own issuer would have signed it, had it expired an hour ago.
std::string expired(const std::string& token, const std::string& key_file) {
  const std::size_t dot = token.find('.');
  const std::size_t end = token.rfind('.');
  std::string payload = token.substr(dot + 1, end - dot - 1);
  std::ranges::replace(payload, '-', '+');
  std::ranges::replace(payload, '_', '/');
  payload.resize((payload.size() + 3) / 4 * 4, '=');
  json claims = json::parse(*base64_decode(payload));
  for (const char* name : {"iat", "nbf", "exp"}) claims[name] = claims[name].get<long>() - 7200;
  const std::string text = token.substr(0, dot + 1) + base64url(claims.dump());

  FILE* const file = fopen(key_file.c_str(), "r");
  EXPECT_NE(file, nullptr) << key_file;
  if (file == nullptr) return "";
  EVP_PKEY* const key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
  fclose(file);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  std::size_t size = 0;
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  EVP_DigestSign(context, nullptr, &size, bytes, text.size());
  std::string signature(size, '\0');
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, bytes,
                 text.size());
  signature.resize(size);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  return text + "." + base64url(signature);
}

// Real service accounts, pods and tokens of the real API server. ns_ is the namespace of ours.
class TokenReviewGateTest : public kube::KubeTest {
 protected:
  void SetUp() override {
    KubeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    account(ns_, "vmferry-agent");
    // Whoever owns a pod has to exist, or the garbage collector takes the pod.
    set_uid_ =
        bed_->request(
                "POST", "/apis/apps/v1/namespaces/" + ns_ + "/daemonsets",
                {{"metadata", {{"name", "vmferry-agent"}}},
                 {"spec",
                  {{"selector", {{"matchLabels", {{"a", "b"}}}}},
                   {"template",
                    {{"metadata", {{"labels", {{"a", "b"}}}}},
                     {"spec",
                      {{"containers", {{{"name", "c"}, {"image", "i"}}}}}}}}}}})["metadata"]["uid"]
            .get<std::string>();
    bed_->try_request("POST", "/api/v1/nodes", {{"metadata", {{"name", "node-1"}}}});
    recorder_.emplace(cluster_->reader(), cluster_->writer(), clock_, Logger());
  }
  void account(const std::string& ns, const std::string& name) {
    bed_->request("POST", "/api/v1/namespaces/" + ns + "/serviceaccounts",
                  {{"metadata", {{"name", name}}}});
  }
  // Answers its uid.
  std::string pod(const std::string& ns, const std::string& name, const std::string& as,
                  const json& owner = nullptr, const json& labels = json::object(),
                  const std::string& node = "node-1") {
    json metadata{{"name", name}, {"labels", labels}};
    if (!owner.is_null()) metadata["ownerReferences"] = json::array({owner});
    return bed_
        ->request("POST", "/api/v1/namespaces/" + ns + "/pods",
                  {{"metadata", metadata},
                   {"spec",
                    {{"serviceAccountName", as},
                     {"nodeName", node},
                     {"containers", {{{"name", "c"}, {"image", "i"}}}}}}})["metadata"]["uid"]
        .get<std::string>();
  }
  json our_set() const {
    return {{"apiVersion", "apps/v1"},
            {"kind", "DaemonSet"},
            {"name", "vmferry-agent"},
            {"uid", set_uid_},
            {"controller", true}};
  }
  // A mover's pod with the import that it belongs to.
  std::string mover(const std::string& name) {
    const json import = bed_->request(
        "POST", "/apis/v2v.kubevirt.io/v1beta1/namespaces/" + ns_ + "/virtualmachineimports",
        {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
         {"kind", "VirtualMachineImport"},
         {"metadata", {{"name", name}}},
         {"spec",
          {{"providerCredentialsSecret", {{"name", "s"}}},
           {"source", {{"vmware", {{"vm", {{"id", "x"}}}}}}}}}});
    return pod(ns_, name, "default",
               {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                {"kind", "VirtualMachineImport"},
                {"name", name},
                {"uid", import["metadata"]["uid"]},
                {"controller", true}},
               {{"vmferry.io/holder", "move"}});
  }
  std::string pod_token(const std::string& ns, const std::string& as, const std::string& pod,
                        const std::string& uid, const std::string& audience = kAudience) {
    return bed_->request(
        "POST", "/api/v1/namespaces/" + ns + "/serviceaccounts/" + as + "/token",
        {{"apiVersion", "authentication.k8s.io/v1"},
         {"kind", "TokenRequest"},
         {"spec",
          {{"audiences", {audience}},
           {"expirationSeconds", 3600},
           {"boundObjectRef",
            {{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", pod}, {"uid", uid}}}}}})["status"]
                                                                                     ["token"];
  }
  TokenReviewGate::Settings settings() const {
    TokenReviewGate::Settings settings;
    settings.rules.ns = ns_;
    return settings;
  }
  Result<AgentPass> ask(const std::string& agent, const std::string& node,
                        const std::string& token) {
    TokenReviewGate gate(cluster_->reader(), cluster_->writer(), *recorder_, settings(), clock_,
                         Logger());
    protocol::Hello hello;
    hello.agent = AgentId{agent};
    hello.node = node;
    hello.token = token;
    Guarded<std::optional<Result<AgentPass>>> answer;
    gate.check(hello, "key",
               [&](Result<AgentPass> pass) { answer.lock()->emplace(std::move(pass)); });
    EXPECT_TRUE(kube::eventually([&] { return answer.lock()->has_value(); }));
    return std::move(**answer.lock());
  }
  void expect_refused(const Result<AgentPass>& pass, const std::string& says) {
    ASSERT_FALSE(pass.ok()) << pass->who;
    EXPECT_EQ(pass.error().kind(), ErrorKind::PermissionDenied) << to_string(pass.error());
    EXPECT_EQ(pass.error().code(), code::kAgentRefused);
    EXPECT_THAT(pass.error().message(), HasSubstr(says));
  }
  std::vector<std::string> events_about(const std::string& uid) {
    std::vector<std::string> texts;
    const auto events =
        cluster_->reader().list(kube::types::kEvent, {.ns = ns_, .label_selector = ""}, {});
    for (const kube::Object& event : events->items) {
      if (event.json()["involvedObject"].value("uid", "") != uid) continue;
      texts.push_back(event.json()["reason"].get<std::string>() + " " +
                      event.json()["message"].get<std::string>());
    }
    return texts;
  }

  std::string set_uid_;
  std::optional<kube::EventRecorder> recorder_;
};

TEST_F(TokenReviewGateTest, LetsInTheAgentOfANodeUntilItsTokenEnds) {
  const std::string uid = pod(ns_, "agent-x", "vmferry-agent", our_set());
  const auto pass = ask("node-1", "node-1", pod_token(ns_, "vmferry-agent", "agent-x", uid));
  ASSERT_TRUE(pass.ok()) << to_string(pass.error());
  EXPECT_THAT(pass->who, HasSubstr("agent-x on node node-1"));
  EXPECT_GT(pass->valid_for, 55min);
  EXPECT_LE(pass->valid_for, 60min);
  EXPECT_EQ(pass->check_after, 5min);
}

TEST_F(TokenReviewGateTest, LetsInAMoverOfAnImport) {
  const std::string uid = mover("web");
  const std::string token = pod_token(ns_, "default", "web", uid);
  const auto pass = ask("mover-" + uid, "mover:" + uid, token);
  ASSERT_TRUE(pass.ok()) << to_string(pass.error());
  const std::string other = mover("mail");
  expect_refused(ask("mover-" + other, "mover:" + other, token), "with uid " + uid);
  expect_refused(ask("node-1", "node-1", token), "with uid " + uid);
  EXPECT_THAT(events_about(uid), ::testing::Contains(HasSubstr("AgentRefused")));
}

TEST_F(TokenReviewGateTest, RefusesWhatIsNotOurAgent) {
  const std::string uid = pod(ns_, "agent-x", "vmferry-agent", our_set());
  const std::string good = pod_token(ns_, "vmferry-agent", "agent-x", uid);
  const std::string signer = bed_->folder() + "/pki/accounts.key";
  expect_refused(ask("node-1", "node-1", ""), "shows no token");
  expect_refused(ask("node-1", "node-1", "garbage"), "no service account token");
  expect_refused(ask("node-1", "node-1", good.substr(0, good.size() - 4) + "AAAA"),
                 "does not accept");
  expect_refused(ask("node-1", "node-1", expired(good, signer)), "has run out");
  expect_refused(
      ask("node-1", "node-1", pod_token(ns_, "vmferry-agent", "agent-x", uid, "https://other")),
      "not for audience");
  expect_refused(ask("node-1", "node-1", bed_->token(ns_, "vmferry-agent", {kAudience})),
                 "bound to no pod");
  expect_refused(ask("node-2", "node-2", good), "runs on 'node-1'");
  EXPECT_THAT(events_about(uid), ::testing::Contains(HasSubstr("AgentRefused")));

  // The same account, but a pod that somebody made by hand; another account; another namespace.
  const std::string by_hand = pod(ns_, "by-hand", "vmferry-agent");
  expect_refused(ask("node-1", "node-1", pod_token(ns_, "vmferry-agent", "by-hand", by_hand)),
                 "belongs to no DaemonSet");
  account(ns_, "other");
  const std::string other = pod(ns_, "other", "other", our_set());
  expect_refused(ask("node-1", "node-1", pod_token(ns_, "other", "other", other)), "neither");
  const std::string elsewhere = bed_->make_namespace();
  account(elsewhere, "vmferry-agent");
  const std::string foreign = pod(elsewhere, "agent-x", "vmferry-agent");
  expect_refused(ask("node-1", "node-1", pod_token(elsewhere, "vmferry-agent", "agent-x", foreign)),
                 "neither an agent of ours nor a mover");
}

TEST_F(TokenReviewGateTest, ATokenEndsWithItsPod) {
  const std::string uid = pod(ns_, "agent-x", "vmferry-agent", our_set());
  const std::string token = pod_token(ns_, "vmferry-agent", "agent-x", uid);
  ASSERT_TRUE(ask("node-1", "node-1", token).ok());
  bed_->request("DELETE", "/api/v1/namespaces/" + ns_ + "/pods/agent-x",
                {{"gracePeriodSeconds", 0}});
  // The server itself remembers an accepted token for some seconds; the pod is looked at each time.
  expect_refused(ask("node-1", "node-1", token), "");
}

TEST_F(TokenReviewGateTest, NotBeingAllowedToAskIsNoFaultOfTheAgents) {
  const std::string uid = pod(ns_, "agent-x", "vmferry-agent", our_set());
  kube::Access access;
  access.server = bed_->url();
  access.trust.ca_pem = bed_->ca_pem();
  kube::Credential credential;
  credential.authorization = SecretString("Bearer " + bed_->token(ns_, "default"));
  access.credentials = std::make_shared<kube::FixedCredentials>(credential);
  kube::Cluster powerless(std::move(access), {}, clock_, Logger());
  TokenReviewGate gate(powerless.reader(), powerless.writer(), *recorder_, settings(), clock_,
                       Logger());
  Guarded<std::optional<Result<AgentPass>>> answer;
  protocol::Hello hello;
  hello.token = pod_token(ns_, "vmferry-agent", "agent-x", uid);
  gate.check(hello, "key",
             [&](Result<AgentPass> pass) { answer.lock()->emplace(std::move(pass)); });
  ASSERT_TRUE(kube::eventually([&] { return answer.lock()->has_value(); }));
  ASSERT_FALSE((*answer.lock())->ok());
  EXPECT_EQ((*answer.lock())->error().kind(), ErrorKind::Unavailable);
  EXPECT_EQ((*answer.lock())->error().code(), code::kForbidden);
}

// Agents of many nodes at once, on a client of the gate's own, whose answers are counted.
class GateCrowdTest : public TokenReviewGateTest {
 protected:
  struct Crowd {
    std::atomic<int> admitted{0}, refused{0}, other{0};
    int answered() const { return admitted + refused + other; }
  };
  void SetUp() override {
    TokenReviewGateTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    kube::Cluster::Options options;
    options.kubeconfig = bed_->kubeconfig();
    options.api.requests_per_second = 200;
    options.api.burst = 400;
    apart_ = *kube::Cluster::open(options, clock_, Logger());
    gate_.emplace(apart_->reader(), apart_->writer(), *recorder_, settings(), clock_, Logger());
  }
  void TearDown() override {
    gate_.reset();
    TokenReviewGateTest::TearDown();
  }
  void say(const std::string& node, const std::string& token, Crowd& crowd) {
    protocol::Hello hello;
    hello.agent = AgentId{node};
    hello.node = node;
    hello.token = token;
    gate_->check(hello, "key", [&crowd](Result<AgentPass> pass) {
      const bool refused = !pass && pass.error().kind() == ErrorKind::PermissionDenied;
      ++(pass ? crowd.admitted : refused ? crowd.refused : crowd.other);
    });
  }
  std::uint64_t requests() const {
    std::uint64_t sum = 0;
    for (const auto& [status, count] : apart_->api().answers()) sum += count;
    return sum;
  }
  std::unique_ptr<kube::Cluster> apart_;
  std::optional<TokenReviewGate> gate_;
};

TEST_F(GateCrowdTest, HundredsOfAgentsAreInAfterTwoRequestsEachAndNoneWhenTheyComeBack) {
  constexpr int kAgents = 200;
  std::vector<std::string> tokens;
  for (int i = 0; i < kAgents; ++i) {
    const std::string name = fmt::format("agent-{}", i);
    const std::string uid = pod(ns_, name, "vmferry-agent", our_set(), json::object(), name);
    tokens.push_back(pod_token(ns_, "vmferry-agent", name, uid));
  }
  Crowd first;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < kAgents; ++i) say(fmt::format("agent-{}", i), tokens[i], first);
  ASSERT_TRUE(kube::eventually([&] { return first.answered() == kAgents; }));
  std::printf("%d agents are in after %.2f s and %d requests\n", kAgents,
              std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
              static_cast<int>(requests()));
  EXPECT_EQ(first.admitted, kAgents);
  EXPECT_EQ(requests(), 2U * kAgents);

  Crowd again;
  for (int i = 0; i < kAgents; ++i) say(fmt::format("agent-{}", i), tokens[i], again);
  ASSERT_TRUE(kube::eventually([&] { return again.answered() == kAgents; }));
  EXPECT_EQ(again.admitted, kAgents);
  EXPECT_EQ(requests(), 2U * kAgents) << "remembered";

  Crowd liars;  // with the token of another agent, which is remembered for that one alone
  for (int i = 0; i < 10; ++i) say(fmt::format("agent-{}", i + 1), tokens[i], liars);
  ASSERT_TRUE(kube::eventually([&] { return liars.answered() == 10; }));
  EXPECT_EQ(liars.refused, 10);
}

TEST_F(GateCrowdTest, WhatIsNoTokenForUsCostsNoRequest) {
  const std::string uid = pod(ns_, "agent-x", "vmferry-agent", our_set());
  const std::string good = pod_token(ns_, "vmferry-agent", "agent-x", uid);
  const std::string header = base64url(R"({"alg":"RS256"})");
  const auto made = [&](const json& claims) {
    return header + "." + base64url(claims.dump()) + ".c2ln";
  };
  const std::vector<std::string> junk{
      "",
      "garbage",
      "a.b",
      "a.b.c",
      "a.b.c.d",
      good + ".x",
      std::string(100'000, 'a'),
      good + std::string(20'000, 'A'),
      made(json::object()),
      made({{"sub", "system:serviceaccount:n:s"}}),
      made({{"sub", "system:serviceaccount:n:s"}, {"aud", {"https://kubernetes.default.svc"}}}),
      made({{"sub", "somebody"}, {"aud", {kAudience}}}),
      made(json::array()),
      std::string("\0\0.\0.\0", 6),
      pod_token(ns_, "vmferry-agent", "agent-x", uid, "https://other"),
  };
  Crowd crowd;
  for (int i = 0; i < 200; ++i) {
    for (const std::string& token : junk) say("node-1", token, crowd);
  }
  const int said = 200 * static_cast<int>(junk.size());
  ASSERT_TRUE(kube::eventually([&] { return crowd.answered() == said; }));
  EXPECT_EQ(crowd.refused, said);
  EXPECT_EQ(requests(), 0U);
}

TEST_F(GateCrowdTest, AnAcceptedHelloIsRememberedForAShortTimeOnly) {
  FakeClock clock;
  gate_.reset();
  gate_.emplace(apart_->reader(), apart_->writer(), *recorder_, settings(), clock, Logger());
  const std::string uid = pod(ns_, "agent-x", "vmferry-agent", our_set());
  const std::string token = pod_token(ns_, "vmferry-agent", "agent-x", uid);
  const auto admitted = [&] {
    Crowd crowd;
    say("node-1", token, crowd);
    EXPECT_TRUE(kube::eventually([&] { return crowd.answered() == 1; }));
    return crowd.admitted == 1;
  };
  EXPECT_TRUE(admitted());
  bed_->request("DELETE", "/api/v1/namespaces/" + ns_ + "/pods/agent-x",
                {{"gracePeriodSeconds", 0}});
  EXPECT_TRUE(admitted()) << "within the time";
  clock.advance(31s);
  EXPECT_FALSE(admitted()) << "and not afterwards";
}

// The whole way: a fleet with the gate, agents that speak the protocol.
class GatedFleetTest : public TokenReviewGateTest {
 protected:
  void SetUp() override {
    TokenReviewGateTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    uid_ = pod(ns_, "agent-x", "vmferry-agent", our_set());
  }
  void TearDown() override {
    fleet_.reset();
    gate_.reset();
    if (!state_.empty()) std::filesystem::remove_all(state_);
    KubeTest::TearDown();
  }
  void start(std::chrono::nanoseconds check_every = 5min) {
    state_ = ::testing::TempDir() + "vmferry-gated-XXXXXX";
    ASSERT_NE(::mkdtemp(state_.data()), nullptr);
    TokenReviewGate::Settings wanted = settings();
    wanted.check_every = check_every;
    gate_.emplace(cluster_->reader(), cluster_->writer(), *recorder_, wanted, clock_, Logger());
    Fleet::Options options;
    options.state_directory = state_;
    options.keys = keys_;
    options.gate = &*gate_;
    options.heartbeat_every = 100ms;
    options.settle = 100ms;
    auto fleet = Fleet::start(std::move(options), clock_, Logger());
    ASSERT_TRUE(fleet.ok()) << to_string(fleet.error());
    fleet_ = *std::move(fleet);
  }
  FakeAgent::Options agent(const std::string& node, std::string token) {
    return {.address = fleet_->address(),
            .server_key = keys_.public_key,
            .id = node,
            .node = node,
            .token = [token] { return token; }};
  }

  std::string uid_, state_;
  CurveKeys keys_ = CurveKeys::generate();
  std::optional<TokenReviewGate> gate_;
  std::unique_ptr<Fleet> fleet_;
};

TEST_F(GatedFleetTest, OnlyAnAgentOfOursGetsWork) {
  start();
  const FakeAgent stranger(agent("node-2", bed_->token(ns_, "default", {kAudience})));
  const FakeAgent liar(agent("node-3", pod_token(ns_, "vmferry-agent", "agent-x", uid_)));
  EXPECT_TRUE(kube::eventually([&] { return fleet_->gate_counts().refused >= 2; }));
  TransferRequest wanted;
  wanted.job = JobId{"u/disk"};
  wanted.import_key = "n/web";
  wanted.ns = "n";
  wanted.size_bytes = wanted.source.size_bytes = 4096;
  wanted.source.cookie = SecretString("secret of the source");
  fleet_->submit(wanted);
  EXPECT_TRUE(fleet_->agents().empty());

  const FakeAgent ours(agent("node-1", pod_token(ns_, "vmferry-agent", "agent-x", uid_)));
  EXPECT_TRUE(kube::eventually([&] {
    const auto view = fleet_->transfer(wanted.job);
    return view && view->state == TransferState::Succeeded;
  }));
  EXPECT_EQ(ours.seen().assigned.size(), 1U);
  EXPECT_EQ(fleet_->agents().size(), 1U);
  for (const FakeAgent* refused : {&stranger, &liar}) {
    EXPECT_EQ(refused->seen().welcomes, 0);
    EXPECT_EQ(refused->seen().acks, 0);
    EXPECT_TRUE(refused->seen().assigned.empty());
  }
}

TEST_F(GatedFleetTest, AnAwayApiServerKeepsStrangersOutAndAgentsIn) {
  start(1s);
  const std::string token = pod_token(ns_, "vmferry-agent", "agent-x", uid_);
  const FakeAgent ours(agent("node-1", token));
  ASSERT_TRUE(kube::eventually([&] { return ours.is_in(); }));
  bed_->stop_apiserver();
  const FakeAgent late(agent("node-1", token));  // even with a good token
  const auto before = fleet_->gate_counts();
  EXPECT_TRUE(
      kube::eventually([&] { return fleet_->gate_counts().unanswered > before.unanswered; }));
  const int acks = ours.seen().acks;
  EXPECT_TRUE(kube::eventually([&] { return ours.seen().acks > acks + 5; }));
  EXPECT_EQ(late.seen().welcomes, 0);
  bed_->start_apiserver();
  const auto known = fleet_->gate_counts().admitted;
  EXPECT_TRUE(kube::eventually([&] { return fleet_->gate_counts().admitted > known; }));
}

TEST_F(GatedFleetTest, AnAgentWhosePodIsGoneIsHeardNoLonger) {
  start(1s);
  const FakeAgent ours(agent("node-1", pod_token(ns_, "vmferry-agent", "agent-x", uid_)));
  ASSERT_TRUE(kube::eventually([&] { return ours.is_in(); }));
  ASSERT_TRUE(kube::eventually([&] { return ours.seen().hellos > 1; })) << "asked again";
  bed_->request("DELETE", "/api/v1/namespaces/" + ns_ + "/pods/agent-x",
                {{"gracePeriodSeconds", 0}});
  ASSERT_TRUE(kube::eventually([&] { return fleet_->gate_counts().refused > 0; }));
  const int acks = ours.seen().acks;
  std::this_thread::sleep_for(500ms);  // five heartbeats
  EXPECT_LE(ours.seen().acks, acks + 1);
}

}  // namespace
}  // namespace vmferry::access
