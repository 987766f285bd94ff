#include "coordinator/access/agent_identity.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "common/catalogue.h"
#include "common/http_client.h"

namespace vmferry::access {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json review() {
  return {{"status",
           {{"authenticated", true},
            {"audiences", {"vmferry-coordinator"}},
            {"user",
             {{"username", "system:serviceaccount:vmferry:vmferry-agent"},
              {"extra",
               {{"authentication.kubernetes.io/pod-name", {"agent-x"}},
                {"authentication.kubernetes.io/pod-uid", {"u1"}}}}}}}}};
}

TEST(TokenOwnerTest, IsReadFromTheReview) {
  const auto owner = token_owner(kube::Object(review()), "vmferry-coordinator");
  ASSERT_TRUE(owner) << to_string(owner.error());
  EXPECT_EQ(*owner, (TokenOwner{.ns = "vmferry",
                                .service_account = "vmferry-agent",
                                .pod_name = "agent-x",
                                .pod_uid = "u1"}));
}

TEST(TokenOwnerTest, EverythingElseIsRefused) {
  const struct Case {
    const char* name;
    json patch;
    const char* says;
  } cases[] = {
      {"not authenticated",
       {{"status", {{"authenticated", false}, {"error", "token has expired"}}}},
       "token has expired"},
      {"authenticated is no boolean", {{"status", {{"authenticated", "true"}}}}, "does not accept"},
      {"no status", {{"status", nullptr}}, "does not accept"},
      {"another audience", {{"status", {{"audiences", {"api"}}}}}, "audience"},
      {"no audiences: the server knows none", {{"status", {{"audiences", nullptr}}}}, "audience"},
      {"a person",
       {{"status", {{"user", {{"username", "jane"}}}}}},
       "'jane' is no service account"},
      {"nearly a service account",
       {{"status", {{"user", {{"username", "system:serviceaccount:vmferry"}}}}}},
       "no service account"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    json changed = review();
    changed.merge_patch(c.patch);
    const auto owner = token_owner(kube::Object(changed), "vmferry-coordinator");
    ASSERT_FALSE(owner);
    EXPECT_EQ(owner.error().kind(), ErrorKind::PermissionDenied);
    EXPECT_EQ(owner.error().code(), code::kAgentRefused);
    EXPECT_THAT(owner.error().message(), HasSubstr(c.says));
  }
}

// What a test changes of an agent or mover that is as it should be.
struct Scene {
  protocol::Hello hello;
  json pod;
  json import;
  Evidence evidence;

  Result<std::string> check() {
    if (!pod.is_null()) evidence.pod = kube::Object(pod);
    if (!import.is_null()) evidence.import = kube::Object(import);
    return check_agent(hello, evidence, {});
  }
};

Scene node_agent() {
  Scene s;
  s.hello.agent = AgentId{"node-1"};
  s.hello.node = "node-1";
  s.evidence.owner = {"vmferry", "vmferry-agent", "agent-x", "u1"};
  s.pod = json::parse(R"({"metadata": {"namespace": "vmferry", "name": "agent-x", "uid": "u1",
      "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "vmferry-agent",
                           "uid": "d", "controller": true}]},
    "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}})");
  return s;
}

Scene mover() {
  Scene s;
  s.hello.agent = AgentId{"mover-u2"};
  s.hello.node = "mover:u2";
  s.evidence.owner = {"shop", "default", "vmferry-hold-a", "u2"};
  s.pod = json::parse(R"({"metadata": {"namespace": "shop", "name": "vmferry-hold-a", "uid": "u2",
      "labels": {"vmferry.io/holder": "move"},
      "ownerReferences": [{"apiVersion": "v2v.kubevirt.io/v1beta1", "kind": "VirtualMachineImport",
                           "name": "web", "uid": "i", "controller": true}]},
    "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}})");
  s.import = json::parse(R"({"metadata": {"namespace": "shop", "name": "web", "uid": "i"}})");
  return s;
}

TEST(AgentIdentityTest, LetsInTheAgentOfANodeAndAMover) {
  const auto agent = node_agent().check();
  ASSERT_TRUE(agent) << to_string(agent.error());
  EXPECT_THAT(*agent, HasSubstr("vmferry/agent-x on node node-1"));
  const auto moves = mover().check();
  ASSERT_TRUE(moves) << to_string(moves.error());
  EXPECT_THAT(*moves, HasSubstr("shop/vmferry-hold-a of import web"));
}

TEST(AgentIdentityTest, RefusesEverybodyElse) {
  const struct Case {
    const char* name;
    Scene (*scene)();
    void (*change)(Scene&);
    const char* says;
  } cases[] = {
      {"a token bound to no pod", node_agent, [](Scene& s) { s.evidence.owner.pod_name = ""; },
       "bound to no pod"},
      {"its pod is gone", node_agent, [](Scene& s) { s.pod = nullptr; }, "does not exist any more"},
      {"another pod of that name by now", node_agent,
       [](Scene& s) { s.pod["metadata"]["uid"] = "z"; }, "does not exist any more"},
      {"its pod has ended", node_agent, [](Scene& s) { s.pod["status"]["phase"] = "Failed"; },
       "has ended"},
      {"another node claimed", node_agent, [](Scene& s) { s.hello.node = "node-2"; },
       "runs on 'node-1'"},
      {"another node's name", node_agent, [](Scene& s) { s.hello.agent = AgentId{"node-2"}; },
       "calls itself 'node-2'"},
      {"an agent that calls itself a mover", node_agent,
       [](Scene& s) { s.hello.node = "mover:u1"; }, "runs on node 'mover:u1'"},
      {"not scheduled yet", node_agent,
       [](Scene& s) {
         s.pod["spec"].erase("nodeName");
         s.hello.node = s.hello.agent.value = "";
       },
       "runs on ''"},
      {"a pod that somebody made with the agents' account", node_agent,
       [](Scene& s) { s.pod["metadata"].erase("ownerReferences"); }, "belongs to no DaemonSet"},
      {"a DaemonSet that is not its controller", node_agent,
       [](Scene& s) { s.pod["metadata"]["ownerReferences"][0]["controller"] = false; },
       "belongs to no DaemonSet"},
      {"the agents' account of another namespace", node_agent,
       [](Scene& s) { s.evidence.owner.ns = "other"; }, "neither an agent of ours nor a mover"},
      {"another account of ours", node_agent,
       [](Scene& s) { s.evidence.owner.service_account = "default"; }, "neither an agent"},
      {"a mover that claims another pod's uid", mover, [](Scene& s) { s.hello.node = "mover:u3"; },
       "with uid u2"},
      {"a mover that claims another mover's name", mover,
       [](Scene& s) { s.hello.agent = AgentId{"mover-u3"}; }, "with uid u2"},
      {"a mover that claims a node", mover, [](Scene& s) { s.hello.node = "node-1"; },
       "with uid u2"},
      {"a holder that only holds", mover,
       [](Scene& s) { s.pod["metadata"]["labels"]["vmferry.io/holder"] = "hold"; }, "neither"},
      {"a pod of an import that is gone", mover, [](Scene& s) { s.import = nullptr; },
       "does not exist"},
      {"a pod of an earlier import of that name", mover,
       [](Scene& s) { s.import["metadata"]["uid"] = "j"; }, "does not exist"},
      {"a pod with a label and no import", mover,
       [](Scene& s) { s.pod["metadata"].erase("ownerReferences"); }, "neither"},
      {"an owner of the kind in another group", mover,
       [](Scene& s) { s.pod["metadata"]["ownerReferences"][0]["apiVersion"] = "x/v1"; }, "neither"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Scene scene = c.scene();
    c.change(scene);
    const auto answer = scene.check();
    ASSERT_FALSE(answer) << *answer;
    EXPECT_EQ(answer.error().kind(), ErrorKind::PermissionDenied);
    EXPECT_THAT(answer.error().message(), HasSubstr(c.says));
  }
}

std::string token_of(const std::string& claims) {
  std::string payload = base64_encode(claims);
  while (!payload.empty() && payload.back() == '=') payload.pop_back();
  std::ranges::replace(payload, '+', '-');
  std::ranges::replace(payload, '/', '_');
  return "e30." + payload + ".sig";
}

TEST(TokenLifeTest, EndsWithTheTokenWhateverTheClocksSay) {
  const WallTime now{std::chrono::seconds(1'800'000'000)};
  const struct Case {
    const char* name;
    std::string token;
    int seconds;
  } cases[] = {
      {"half of its life is over", token_of(R"({"iat": 1799998200, "exp": 1800001800})"), 1800},
      {"our clock is behind", token_of(R"({"iat": 1800007200, "exp": 1800010800})"), 3600},
      {"our clock is ahead", token_of(R"({"iat": 1799990000, "exp": 1799993600})"), 60},
      {"no begin", token_of(R"({"exp": 1800000600})"), 600},
      {"no end", token_of("{}"), 60},
      {"an end that is none", token_of(R"({"exp": "never"})"), 60},
      {"an end beyond all time", token_of(R"({"exp": 1e300})"), 60},
      {"no token", "garbage", 60},
      {"no JSON inside", "a.!!!.b", 60},
      {"nothing", "", 60},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(token_life(c.token, now), std::chrono::seconds(c.seconds)) << c.name;
  }
}

// What costs the API server a question. Nothing of it is believed.
TEST(TokenShapeTest, OnlyWhatMayBeAPodsTokenForUsNowIsAskedAbout) {
  const WallTime now{std::chrono::seconds(1'800'000'000)};
  const nlohmann::json good = {{"iss", "https://kubernetes.default.svc.cluster.local"},
                               {"sub", "system:serviceaccount:vmferry:vmferry-agent"},
                               {"aud", {"vmferry-coordinator"}},
                               {"exp", 1'800'000'600},
                               {"kubernetes.io",
                                {{"namespace", "vmferry"},
                                 {"pod", {{"name", "agent-x"}, {"uid", "1-2"}}},
                                 {"serviceaccount", {{"name", "vmferry-agent"}, {"uid", "3-4"}}}}}};
  const auto verdict = [&](const nlohmann::json& changes) {
    nlohmann::json claims = good;
    claims.merge_patch(changes);
    std::string header = base64_encode(R"({"alg":"RS256"})");
    while (header.back() == '=') header.pop_back();
    const auto shape =
        check_token_shape(header + token_of(claims.dump()).substr(3), "vmferry-coordinator", now);
    return shape ? std::string() : shape.error().message();
  };
  EXPECT_EQ(verdict(nlohmann::json::object()), "");
  EXPECT_EQ(verdict({{"iss", "kubernetes/serviceaccount"}}), "") << "any word will do";
  EXPECT_EQ(verdict({{"exp", 1'800'000'000 - 3000}}), "") << "our clock may be ahead";
  const struct {
    const char* name;
    nlohmann::json changes;
    const char* says;
  } cases[] = {
      {"ended two hours ago", {{"exp", 1'800'000'000 - 7200}}, "has run out"},
      {"never ends", {{"exp", nullptr}}, "does not say when it ends"},
      {"ends at no time", {{"exp", "soon"}}, "does not say when it ends"},
      {"no issuer", {{"iss", nullptr}}, "no issuer"},
      {"an issuer that is none", {{"iss", "a b"}}, "no issuer"},
      {"a long issuer", {{"iss", std::string(2000, 'a')}}, "no issuer"},
      {"no account", {{"sub", "system:node:x"}}, "no service account token"},
      {"another audience", {{"aud", {"api"}}}, "audience"},
      {"no pod", {{"kubernetes.io", {{"pod", nullptr}}}}, "bound to no pod"},
      {"a pod without uid", {{"kubernetes.io", {{"pod", {{"uid", ""}}}}}}, "bound to no pod"},
      {"nothing of a cluster", {{"kubernetes.io", nullptr}}, "bound to no pod"},
      {"a list for a cluster", {{"kubernetes.io", nlohmann::json::array()}}, "bound to no pod"},
      {"another namespace", {{"kubernetes.io", {{"namespace", "x"}}}}, "its subject is another"},
      {"another account",
       {{"kubernetes.io", {{"serviceaccount", {{"name", "x"}}}}}},
       "its subject is another"},
  };
  for (const auto& c : cases) {
    EXPECT_NE(verdict(c.changes).find(c.says), std::string::npos)
        << c.name << ": " << verdict(c.changes);
  }
}

}  // namespace
}  // namespace vmferry::access
