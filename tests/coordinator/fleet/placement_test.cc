#include "coordinator/fleet/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace vmferry {
namespace {

// A job as words: "name ns=a import=i ds=d pr=p node=n prio=1 size=5 avoid=x block=y".
PlacementJob job_of(const std::string& text) {
  std::istringstream words(text);
  PlacementJob job;
  words >> job.job.value;
  job.ns = "ns";
  job.import_key = "import";
  job.size_bytes = 1;
  for (std::string word; words >> word;) {
    const std::string key = word.substr(0, word.find('='));
    const std::string value = word.substr(word.find('=') + 1);
    if (key == "ns") job.ns = value;
    if (key == "import") job.import_key = value;
    if (key == "ds") job.datastore = value;
    if (key == "pr") job.provider = value;
    if (key == "host") job.source_host = value;
    if (key == "bytes") job.budget.host_bytes = std::stoull(value);
    if (key == "hc") job.budget.host_connections = std::stoi(value);
    if (key == "pc") job.budget.provider_connections = std::stoi(value);
    if (key == "node") job.nodes.push_back(value);
    if (key == "prio") job.priority = std::stoi(value);
    if (key == "size") job.size_bytes = std::stoull(value);
    if (key == "arrival") job.arrival = std::stoull(value);
    if (key == "avoid") job.avoid.insert(AgentId{value});
    if (key == "block") job.blocked.insert(AgentId{value});
  }
  return job;
}

TEST(PlacementTest, DecidesWhoGoesWhere) {
  struct Case {
    const char* name;
    std::vector<std::string> queue;
    std::vector<PlacementAgent> agents;
    std::vector<std::string> running;  // "agent" and then as a job
    PlacementLimits limits;
    std::string expected;  // in order of assignment
  };
  const PlacementAgent a{AgentId{"A"}, "node-a", 4};
  const PlacementAgent b{AgentId{"B"}, "node-b", 4};
  const PlacementAgent a1{AgentId{"A"}, "node-a", 1};
  const PlacementAgent full{AgentId{"A"}, "node-a", 0};
  const Case cases[] = {
      {"nobody there", {"1"}, {}, {}, {}, ""},
      {"no slot", {"1"}, {full}, {}, {}, ""},
      {"one of each", {"1"}, {a}, {}, {}, "1>A"},
      {"disks of one import are spread", {"1", "2"}, {a, b}, {}, {}, "1>A 2>B"},
      {"spread counts what runs", {"1"}, {a, b}, {"A 9"}, {}, "1>B"},
      {"higher priority first", {"1", "2 prio=5"}, {a1}, {}, {}, "2>A"},
      {"large disks of an import first", {"1 size=5", "2 size=9"}, {a1}, {}, {}, "2>A"},
      {"the import that came first",
       {"1 import=x arrival=2 size=9", "2 import=y arrival=1"},
       {a1},
       {},
       {},
       "2>A"},
      {"namespaces take turns", {"1 ns=x", "2 ns=x", "3 ns=y"}, {a}, {}, {}, "1>A 3>A 2>A"},
      {"turns are by bytes",
       {"1 ns=x size=10", "2 ns=y size=4", "3 ns=y size=4", "4 ns=y size=4"},
       {a},
       {},
       {},
       "1>A 2>A 3>A 4>A"},
      {"cap of a datastore",
       {"1 ds=d", "2 ds=d", "3 ds=e"},
       {a},
       {"A 9 ds=d"},
       {.jobs_per_datastore = 2, .jobs_per_provider = 0, .jobs_per_source_host = 0},
       "1>A 3>A"},
      {"cap of a provider",
       {"1 pr=p", "2 pr=p"},
       {a},
       {},
       {.jobs_per_datastore = 0, .jobs_per_provider = 1, .jobs_per_source_host = 0},
       "1>A"},
      {"cap of a source host",
       {"1 host=h", "2 host=h"},
       {a},
       {},
       {.jobs_per_datastore = 0, .jobs_per_provider = 0, .jobs_per_source_host = 1},
       "1>A"},
      {"VSRC-49 ten disks of one host, of which eight at once",
       {"0 host=h", "1 host=h", "2 host=h", "3 host=h", "4 host=h", "5 host=h", "6 host=h",
        "7 host=h", "8 host=h", "9 host=i"},
       {{AgentId{"A"}, "node-a", 10}},
       {"A 10 host=h"},
       {.jobs_per_datastore = 0, .jobs_per_provider = 0, .jobs_per_source_host = 8},
       "0>A 1>A 2>A 3>A 4>A 5>A 6>A 9>A"},
      {"bytes asked of a source host at once",
       {"1 host=h bytes=8", "2 host=h bytes=8", "3 host=h bytes=4", "4 host=h", "5 host=i bytes=8"},
       {{AgentId{"A"}, "node-a", 10}},
       {"A 9 host=h bytes=8"},
       {.bytes_per_source_host = 20},
       "1>A 3>A 4>A 5>A"},
      {"one that is more than the whole budget goes alone",
       {"1 host=h bytes=30", "2 host=h bytes=1"},
       {a},
       {},
       {.bytes_per_source_host = 20},
       "1>A"},
      {"connections to a source host",
       {"1 host=h hc=4", "2 host=h hc=4", "3 host=h hc=4", "4 host=h bytes=8"},
       {a},
       {},
       {.connections_per_source_host = 8},
       "1>A 2>A 4>A"},
      {"connections to a vCenter, whatever the host",
       {"1 pr=p host=h pc=2", "2 pr=p host=i pc=2", "3 pr=q host=h pc=2", "4 pr=p host=j hc=4"},
       {a},
       {"A 9 pr=p pc=6"},
       {.connections_per_provider = 8},
       "1>A 3>A 4>A"},
      {"no name, no cap",
       {"1", "2"},
       {a},
       {},
       {.jobs_per_datastore = 1, .jobs_per_provider = 1, .jobs_per_source_host = 1},
       "1>A 2>A"},
      {"only where the target is reached", {"1 node=node-b"}, {a, b}, {}, {}, "1>B"},
      {"nowhere", {"1 node=node-c", "2"}, {a}, {}, {}, "2>A"},
      {"a second node will do", {"1 node=node-c node=node-b"}, {a, b}, {}, {}, "1>B"},
      {"where it failed only if there is no other", {"1 avoid=A"}, {a, b}, {"B 9"}, {}, "1>B"},
      {"where it failed, as there is no other", {"1 avoid=A"}, {a}, {}, {}, "1>A"},
      {"not where it was refused", {"1 block=A"}, {a}, {}, {}, ""},
      {"a blocked job does not hold up others", {"1 block=A", "2"}, {a}, {}, {}, "2>A"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::deque<PlacementJob> jobs;
    std::set<const PlacementJob*, PlacementOrder> queue;
    for (const std::string& text : c.queue) queue.insert(&jobs.emplace_back(job_of(text)));
    std::vector<PlacementRunning> running;
    for (const std::string& text : c.running) {
      const PlacementJob job = job_of(text.substr(2));
      running.push_back({AgentId{text.substr(0, 1)}, job.import_key, job.ns, job.datastore,
                         job.provider, job.source_host, job.budget});
    }
    NamespaceBytes served;
    std::string result;
    for (const Assignment& assignment :
         place({queue.begin(), queue.end()}, c.agents, running, c.limits, served)) {
      result +=
          (result.empty() ? "" : " ") + assignment.job->job.value + ">" + assignment.agent.value;
    }
    EXPECT_EQ(result, c.expected);
  }
}

TEST(PlacementTest, ANewNamespaceNeitherCatchesUpNorWaits) {
  const PlacementJob x = job_of("1 ns=x"), y = job_of("2 ns=y");
  NamespaceBytes served{{"x", 1000}, {"gone", 5}};
  const auto assigned = place({&x, &y}, {{AgentId{"A"}, "n", 4}}, {}, {}, served);
  EXPECT_EQ(assigned.size(), 2u);
  EXPECT_FALSE(served.contains("gone"));
  EXPECT_EQ(served.at("x"), served.at("y"));
}

TEST(PlacementTest, SaysWhyAJobWaits) {
  const PlacementLimits limits{
      .jobs_per_datastore = 1, .jobs_per_provider = 0, .jobs_per_source_host = 0};
  const std::vector<PlacementAgent> free{{AgentId{"A"}, "n", 1}};
  const std::vector<PlacementRunning> running{{AgentId{"A"}, "i", "ns", "d", "", ""}};
  EXPECT_EQ(why_waiting(job_of("1"), {}, {}, {}), "no agent is connected");
  EXPECT_EQ(why_waiting(job_of("1"), {{AgentId{"A"}, "n", 0}}, {}, {}), "no free slot");
  EXPECT_EQ(why_waiting(job_of("1 ds=d"), free, running, limits), "limit of datastore d");
  EXPECT_EQ(why_waiting(job_of("1 node=m"), free, {}, {}),
            "no agent on a node that reaches the target (m)");
  EXPECT_EQ(why_waiting(job_of("1"), free, {}, {}), "its turn");
}

TEST(PlacementTest, ADiskForVddkGoesToAnAgentThatHasIt) {
  PlacementJob job = job_of("1");
  job.needs_vddk = true;
  const PlacementAgent without{AgentId{"A"}, "n", 4};
  const PlacementAgent with{AgentId{"B"}, "n", 1, true};
  NamespaceBytes served;
  EXPECT_TRUE(place({&job}, {without}, {}, {}, served).empty());
  job.disk = "Hard disk 1";
  EXPECT_EQ(why_waiting(job, {without}, {}, {}),
            "an agent with VDDK: disk 'Hard disk 1' is read by VDDK and no agent there has it; "
            "start one with --vddk-libdir");
  EXPECT_EQ(why_waiting(job, {}, {}, {}), why_waiting(job, {without}, {}, {}));
  const std::vector<Assignment> assigned = place({&job}, {without, with}, {}, {}, served);
  ASSERT_EQ(assigned.size(), 1u);
  EXPECT_EQ(assigned[0].agent.value, "B");
}

// A hundred thousand disks of 20 namespaces over 100 agents, to the end: caps are never exceeded,
// nothing is left over, and nobody gets far more than others while all want something.
TEST(PlacementTest, AHundredThousandDisksGoThroughWithinTheCaps) {
  constexpr int kJobs = 100'000;
  std::mt19937 random(7);
  std::deque<PlacementJob> jobs;
  std::set<const PlacementJob*, PlacementOrder> queue;
  for (int i = 0; i < kJobs; ++i) {
    PlacementJob job;
    job.job.value = "job-" + std::to_string(i);
    job.ns = "ns-" + std::to_string(i % 20);
    job.import_key = job.ns + "/vm-" + std::to_string(i / 60);
    job.arrival = static_cast<std::uint64_t>(i / 60);
    job.datastore = "ds-" + std::to_string(random() % 100);
    job.provider = "vc-" + std::to_string(random() % 20);
    job.priority = random() % 50 == 0 ? 1 : 0;
    job.size_bytes = 1 + random() % 1000;
    if (random() % 10 == 0) job.nodes = {"node-" + std::to_string(random() % 100)};
    queue.insert(&jobs.emplace_back(std::move(job)));
  }
  const PlacementLimits limits{
      .jobs_per_datastore = 8, .jobs_per_provider = 40, .jobs_per_source_host = 0};
  std::vector<PlacementAgent> agents;
  for (int i = 0; i < 100; ++i) {
    agents.push_back({AgentId{"agent-" + std::to_string(i)}, "node-" + std::to_string(i), 8});
  }
  struct Running {
    const PlacementJob* job;
    AgentId agent;
  };
  std::vector<Running> running;
  NamespaceBytes served;
  std::map<std::string, std::uint64_t> bytes;
  int done = 0;
  int rounds = 0;
  while (done < kJobs && ++rounds < 5000) {
    std::vector<PlacementRunning> runs;
    std::map<AgentId, std::uint32_t> used;
    for (const Running& r : running) {
      runs.push_back(
          {r.agent, r.job->import_key, r.job->ns, r.job->datastore, r.job->provider, ""});
      ++used[r.agent];
    }
    for (PlacementAgent& agent : agents) agent.free_slots = 8 - used[agent.id];
    for (const Assignment& assignment :
         place({queue.begin(), queue.end()}, agents, runs, limits, served)) {
      queue.erase(assignment.job);
      running.push_back({assignment.job, assignment.agent});
      bytes[assignment.job->ns] += assignment.job->size_bytes;
    }
    std::map<std::string, int> datastores, providers;
    std::map<AgentId, int> slots;
    for (const Running& r : running) {
      ASSERT_LE(++datastores[r.job->datastore], 8);
      ASSERT_LE(++providers[r.job->provider], 40);
      ASSERT_LE(++slots[r.agent], 8);
      if (!r.job->nodes.empty()) {
        ASSERT_EQ(r.job->nodes[0].substr(5), r.agent.value.substr(6));
      }
    }
    ASSERT_FALSE(running.empty()) << "nothing runs while jobs wait";
    if (rounds == 60) {
      const auto [least, most] =
          std::minmax_element(bytes.begin(), bytes.end(),
                              [](const auto& x, const auto& y) { return x.second < y.second; });
      EXPECT_LT(static_cast<double>(most->second), 1.1 * static_cast<double>(least->second));
    }
    // Most of what runs ends until the next round.
    std::vector<Running> left;
    for (const Running& r : running) {
      if (random() % 8 != 0) {
        ++done;
      } else {
        left.push_back(r);
      }
    }
    running = std::move(left);
  }
  EXPECT_EQ(done, kJobs);
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace vmferry
