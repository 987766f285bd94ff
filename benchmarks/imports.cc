// What ten thousand imports cost a coordinator besides what it does for them: its queue, its
// caches, and the reads of a pass.
#include <benchmark/benchmark.h>

#include <atomic>
#include <thread>

#include "coordinator/api/import.h"
#include "coordinator/imports/observe.h"
#include "coordinator/kube/cached_reader.h"
#include "coordinator/kube/controller.h"
#include "coordinator/kube/workqueue.h"

namespace vmferry {
namespace {

using nlohmann::json;

constexpr Backoff kBackoff{.first = std::chrono::milliseconds(500),
                           .cap = std::chrono::seconds(30)};

std::string key_of(std::int64_t number) {
  return fmt::format("team-{}/vm-{}", number % 20, number);
}

// One passes through a queue in which `range` others wait for their time.
void queue_turn(benchmark::State& state) {
  kube::WorkQueue queue(kBackoff);
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    queue.add_after(key_of(i), std::chrono::hours(1) + std::chrono::microseconds(i * 7919 % 10007));
  }
  for (auto _ : state) {
    queue.add("team-1/next");
    benchmark::DoNotOptimize(queue.get({}));
    queue.done("team-1/next");
  }
}
BENCHMARK(queue_turn)->Arg(100)->Arg(10'000)->Arg(100'000);

// All of them through four workers that do nothing.
void queue_drain(benchmark::State& state) {
  for (auto _ : state) {
    kube::WorkQueue queue(kBackoff);
    std::atomic<std::int64_t> passes{0};
    for (std::int64_t i = 0; i < state.range(0); ++i) queue.add(key_of(i));
    const kube::Controller controller(
        queue,
        [&](const kube::ObjectKey&, std::stop_token) -> Result<kube::Outcome> {
          ++passes;
          return kube::Outcome{};
        },
        4, Logger());
    while (passes < state.range(0)) std::this_thread::yield();
  }
}
BENCHMARK(queue_drain)->Arg(10'000)->Unit(benchmark::kMillisecond)->UseRealTime();

// An import of two disks, half copied, as the API server gives it.
kube::Object import_object(std::int64_t number) {
  json disks = json::array();
  for (int i = 0; i < 2; ++i) {
    disks.push_back({{"name", fmt::format("Hard disk {}", i + 1)},
                     {"sourceDisk", fmt::format("421-200{}", i)},
                     {"claim", fmt::format("5b1b8b0a-0000-4000-8000-{:012}-{}", number, i)},
                     {"phase", "Queued"},
                     {"virtualBytes", 1ull << 36},
                     {"toMoveBytes", 1ull << 35},
                     {"movedBytes", 1ull << 34}});
  }
  json conditions = json::array();
  for (const char* type : {"Valid", "MappingRulesVerified", "Processing"}) {
    conditions.push_back({{"type", type},
                          {"status", "True"},
                          {"reason", "CopyingDisks"},
                          {"message", "Copying virtual machine disks: 0 of 2 done"},
                          {"lastHeartbeatTime", "2026-01-01T00:00:00Z"},
                          {"lastTransitionTime", "2026-01-01T00:00:00Z"}});
  }
  return kube::Object(
      {{"apiVersion", kube::types::kVirtualMachineImport.api_version},
       {"kind", kube::types::kVirtualMachineImport.kind},
       {"metadata",
        {{"name", fmt::format("vm-{}", number)},
         {"namespace", fmt::format("team-{}", number % 20)},
         {"uid", fmt::format("5b1b8b0a-0000-4000-8000-{:012}", number)},
         {"resourceVersion", std::to_string(number + 1)},
         {"creationTimestamp", "2026-01-01T00:00:00Z"},
         {"labels", {{std::string(api::kImportUid), fmt::format("uid-{}", number / 2)}}},
         {"annotations",
          {{std::string(api::kProgress), "40"},
           {std::string(api::kLedger), R"({"claims":{"a":"b","c":"d"},"sourceId":"vm-1"})"}}}}},
       {"spec",
        {{"providerCredentialsSecret", {{"name", "vcenter"}}},
         {"targetVmName", fmt::format("vm-{}", number)},
         {"source",
          {{"vmware",
            {{"vm", {{"id", fmt::format("42301f3a-0000-4000-8000-{:012}", number)}}}}}}}}},
       {"status", {{"conditions", std::move(conditions)}, {"disks", std::move(disks)}}}});
}

// A server that lists them, and whose watch says nothing.
class Quiet final : public kube::Reader {
 public:
  explicit Quiet(std::int64_t imports) : imports_(imports) {}
  Result<kube::Object> get(const kube::ResourceType&, const kube::ObjectKey& key,
                           std::stop_token) override {
    return make_error(ErrorKind::NotFound, "no '{}'", key.to_string());
  }
  Result<kube::ObjectList> list(const kube::ResourceType&, const kube::ListOptions&,
                                std::stop_token) override {
    kube::ObjectList all;
    for (std::int64_t i = 0; i < imports_; ++i) all.items.push_back(import_object(i));
    all.resource_version = std::to_string(imports_ + 1);
    return all;
  }
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType&, const kube::ListOptions&,
                                             const std::string&, std::stop_token) override {
    class Silence final : public kube::Watch {
      Result<std::optional<kube::WatchEvent>> next(std::chrono::milliseconds timeout,
                                                   std::stop_token stop) override {
        SystemClock().sleep(timeout, stop);
        return std::optional<kube::WatchEvent>();
      }
    };
    return std::unique_ptr<kube::Watch>(std::make_unique<Silence>());
  }

 private:
  const std::int64_t imports_;
};

struct Cache {
  explicit Cache(std::int64_t imports, const char* selector = "")
      : server(imports),
        informer(server, kube::types::kVirtualMachineImport,
                 {[](const kube::Object&) {}, [](const kube::Object&) {}}, clock, Logger(),
                 {.ns = "", .label_selector = selector}) {
    reader.add(informer);
    while (!informer.synced()) std::this_thread::yield();
  }
  SystemClock clock;
  Quiet server;
  kube::Informer informer;
  kube::CachedReader reader{server};
};

void cache_fill(benchmark::State& state) {
  for (auto _ : state) Cache cache(state.range(0));
}
BENCHMARK(cache_fill)->Arg(10'000)->Unit(benchmark::kMillisecond)->UseRealTime();

void cache_get(benchmark::State& state) {
  Cache cache(state.range(0));
  std::int64_t turn = 0;
  for (auto _ : state) {
    const std::int64_t number = turn++ * 7919 % state.range(0);
    benchmark::DoNotOptimize(
        cache.reader.get(kube::types::kVirtualMachineImport,
                         {fmt::format("team-{}", number % 20), fmt::format("vm-{}", number)}, {}));
  }
}
BENCHMARK(cache_get)->Arg(10'000)->Unit(benchmark::kMicrosecond);

// As the claims of one import are found.
void cache_list_by_label(benchmark::State& state) {
  const std::string label(api::kImportUid);
  Cache cache(state.range(0), label.c_str());
  std::int64_t turn = 0;
  for (auto _ : state) {
    const std::int64_t number = turn++ * 7919 % (state.range(0) / 2);
    benchmark::DoNotOptimize(cache.reader.list(
        kube::types::kVirtualMachineImport,
        {.ns = "", .label_selector = fmt::format("{}=uid-{}", label, number)}, {}));
  }
}
BENCHMARK(cache_list_by_label)->Arg(10'000)->Unit(benchmark::kMicrosecond);

// Once for each import, when it is decided: who else wants the name of its VM.
void name_conflict(benchmark::State& state) {
  Cache cache(state.range(0));
  const auto import = api::parse_import(import_object(1));
  for (auto _ : state) {
    benchmark::DoNotOptimize(imports::name_conflict(cache.reader, *import, "vm-1", {}));
  }
}
BENCHMARK(name_conflict)->Arg(10'000)->Unit(benchmark::kMicrosecond);

void parse(benchmark::State& state) {
  const kube::Object object = import_object(1);
  for (auto _ : state) benchmark::DoNotOptimize(api::parse_import(object));
}
BENCHMARK(parse)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vmferry

BENCHMARK_MAIN();
