#include "coordinator/imports/rehearse.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "common/catalogue.h"
#include "coordinator/embedded/standard_class.h"
#include "coordinator/imports/decision.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/reference_rights.h"
#include "coordinator/imports/validation.h"

namespace vmferry::imports {
namespace {

// A provider whose session ends with this object, whatever happens.
class SessionGuard {
 public:
  explicit SessionGuard(std::unique_ptr<Provider> provider) : provider_(std::move(provider)) {}
  SessionGuard(SessionGuard&&) = default;
  ~SessionGuard() {
    if (provider_) provider_->close();
  }
  Provider* operator->() const { return provider_.get(); }
  Provider& operator*() const { return *provider_; }

 private:
  std::unique_ptr<Provider> provider_;
};

class Rehearsal {
 public:
  Rehearsal(const RehearsalParts& parts, const api::VirtualMachineImport& import)
      : parts_(parts),
        import_(import),
        seen_{.import = import,
              .findings = {},
              .unknown_why = {},
              .bytes_per_second = parts.bytes_per_second} {}

  Result<DryRun> run() {
    TRY(learn_rights());
    seen_.findings = check_request(import_, rights_);
    // Every step notes what it finds; a later one that lacks an earlier one's result is left out.
    if (import_.spec.ovirt.has_value() != import_.spec.vmware.has_value()) {
      TRY(read_source());
      TRY(read_cluster());
      TRY(decide_all());
    }
    if (!decided_) TRY(set_levels());
    return dry_run(std::move(seen_));
  }

 private:
  // A stop ends the run; what may pass leaves the answer open; anything else would block.
  Result<void> note(const Error& error, std::string_view step) {
    if (error.kind() == ErrorKind::Canceled) return error;
    if (is_retryable(error.kind())) {
      seen_.unknown_why += (seen_.unknown_why.empty() ? "" : "; ") + text_with_remedy(error);
      return {};
    }
    const std::string_view rule = error.code().empty() ? step : error.code();
    const auto entry = find_catalogue_entry(error.code());
    seen_.findings.push_back({std::string(rule), FindingLevel::Block, FindingGroup::Mapping,
                              error.message(),
                              std::string(entry ? entry->remedy : std::string_view())});
    return {};
  }

  Result<void> learn_rights() {
    if (parts_.access == nullptr) return {};
    auto rights = reference_rights(*parts_.access, import_, parts_.stop);
    if (rights) {
      rights_ = *std::move(rights);
      return {};
    }
    rights_.secret = rights_.mapping = Right::Granted;
    return leave_rights_open(rights.error());
  }

  Result<void> learn_network_rights() {
    if (parts_.access == nullptr) return {};
    const auto asked = add_network_rights(*parts_.access, import_.object.ns(), mappings_.merged,
                                          rights_, parts_.stop);
    return asked ? Result<void>() : leave_rights_open(asked.error());
  }

  // Whoever asks may have no right to ask that; the coordinator has. The verdict stays open.
  Result<void> leave_rights_open(const Error& error) {
    if (error.kind() == ErrorKind::Canceled) return error;
    if (!seen_.unknown_why.empty()) seen_.unknown_why += "; ";
    seen_.unknown_why +=
        "whether the import's authors may read what it names in other namespaces: " +
        error.message();
    return {};
  }

  Result<SourceVm> find_source() {
    const ProviderCredentials credentials =
        TRY(observe_credentials(parts_.reader, import_, parts_.stop));
    const SessionGuard provider(TRY(parts_.make_provider(credentials)));
    TRY(provider->check_connection(parts_.stop));
    const VmRef wanted = source_reference(import_, parts_.vddk.value_or(false));
    SourceVm vm = TRY(provider->find_vm(wanted, parts_.stop));
    if (parts_.vddk || provider->kind() != ProviderKind::Vmware) return vm;
    return unless_vddk_helps(*provider, wanted, std::move(vm));
  }

  // Nobody said what the agents have: where it matters, the verdict stays open.
  Result<SourceVm> unless_vddk_helps(Provider& provider, VmRef wanted, SourceVm without) {
    if (blocks_of(without).empty()) return without;
    wanted.vddk = true;
    SourceVm with = TRY(provider.find_vm(wanted, parts_.stop));
    const std::vector<Finding> left = blocks_of(with);
    std::string helped;
    for (const Finding& finding : blocks_of(without)) {
      if (std::ranges::find(left, finding) != left.end()) continue;
      helped += (helped.empty() ? "" : "; ") + finding.text;
    }
    if (helped.empty()) return without;
    seen_.unknown_why +=
        (seen_.unknown_why.empty() ? "" : "; ") +
        ("whether an agent has VDDK, without which the import is blocked: " + helped);
    return with;
  }

  static std::vector<Finding> blocks_of(const SourceVm& vm) {
    std::vector<Finding> blocks;
    std::ranges::copy_if(vm.findings, std::back_inserter(blocks), [](const Finding& finding) {
      return finding.level == FindingLevel::Block;
    });
    return blocks;
  }

  Result<void> read_source() {
    auto vm = find_source();
    if (!vm) return note(vm.error(), "source");
    seen_.source = *std::move(vm);
    return {};
  }

  Result<void> read_cluster() {
    auto mappings = observe_mappings(parts_.reader, import_, parts_.stop);
    if (mappings) {
      mappings_ = *std::move(mappings);
    } else {
      TRY(note(mappings.error(), "cluster"));
      mappings_.merged = source_section(import_.spec).mappings.value_or(api::Mappings());
    }
    // Told with the decision's findings, unless nothing can be decided.
    seen_.findings.insert(seen_.findings.end(), mappings_.findings.begin(),
                          mappings_.findings.end());
    seen_.mappings = mappings_.merged;
    TRY(learn_network_rights());
    ObservationScope scope = parts_.scope;
    scope.import_namespace = import_.object.ns();
    auto cluster = observe(parts_.reader, scope, parts_.stop);
    if (!cluster) return note(cluster.error(), "cluster");
    cluster_ = *std::move(cluster);
    seen_.facts = cluster_->facts;
    return {};
  }

  Result<void> decide_all() {
    if (!seen_.source || !cluster_) return {};
    std::vector<Finding> taken;
    if (const auto name = target_vm_name(import_.spec, *seen_.source)) {
      seen_.vm_name = *name;
      const auto conflict = name_conflict(parts_.reader, import_, *name, parts_.stop);
      if (!conflict) {
        TRY(note(conflict.error(), "cluster"));
      } else if (*conflict) {
        taken.push_back(**conflict);
      }
    }
    ImportDecision decision = TRY(decide_import({.import = import_,
                                                 .vm = *seen_.source,
                                                 .mappings = mappings_.merged,
                                                 .facts = cluster_->facts,
                                                 .config = cluster_->config,
                                                 .os_maps = cluster_->os_maps,
                                                 .mapping_findings = mappings_.findings,
                                                 .more_findings = std::move(taken),
                                                 .rights = rights_}));
    take(std::move(decision.findings));
    decided_ = true;
    seen_.disks = std::move(decision.disks);
    TRY(check_classes());
    if (!decision.base) return note(*decision.base_problem, "template");
    seen_.os = decision.base->os;
    seen_.os_why = decision.base->os_why;
    seen_.template_note = decision.base->note;
    seen_.vm = std::move(decision.vm);
    return seen_.vm ? ask_target() : Result<void>();
  }

  // Without a cluster a class that needs one ends the import when its claims are made.
  Result<void> check_classes() {
    if (!parts_.scope.embedded) return {};
    std::set<std::string> wanted;
    for (const PlannedDisk& disk : seen_.disks) {
      wanted.insert(seen_.facts.effective_class(disk.storage_class));
    }
    for (const std::string& name : wanted) {
      const auto found = seen_.facts.storage_classes.find(name);
      if (found == seen_.facts.storage_classes.end()) continue;  // storage.target tells it
      const auto provisioner = found->second.json().value("provisioner", nlohmann::json());
      if (provisioner == embedded::kDirectoryProvisioner) continue;
      TRY(note(coded_error(ErrorKind::InvalidArgument, code::kStorageClass,
                           "storage class '{}' has provisioner {}, which needs a cluster; here it "
                           "must be {}",
                           name, provisioner.dump(), embedded::kDirectoryProvisioner),
               "storage"));
    }
    return {};
  }

  // The decision's findings hold those of the request too, at the configured levels.
  void take(std::vector<Finding> findings) {
    std::erase_if(seen_.findings, [&findings](const Finding& seen) {
      return std::ranges::find(findings, seen.rule, &Finding::rule) != findings.end();
    });
    std::ranges::move(findings, std::back_inserter(seen_.findings));
  }

  // Where nothing was decided, the request's findings stand at their usual levels still.
  Result<void> set_levels() {
    if (!cluster_) {
      auto config = observe_config(parts_.reader, parts_.scope, parts_.stop);
      if (!config) return note(config.error(), "cluster");
      seen_.findings = apply_overrides(std::move(seen_.findings), *config);
    } else {
      seen_.findings = apply_overrides(std::move(seen_.findings), cluster_->config);
    }
    return {};
  }

  // Whether the API would take the VM.
  Result<void> ask_target() {
    const auto accepted = parts_.writer.create(kube::types::kVirtualMachine, *seen_.vm,
                                               {.dry_run = true}, parts_.stop);
    if (accepted || accepted.error().kind() == ErrorKind::AlreadyExists) return {};
    return note(accepted.error(), "target");
  }

  const RehearsalParts& parts_;
  const api::VirtualMachineImport& import_;
  DryRunInput seen_;
  ObservedMappings mappings_;
  ReferenceRights rights_;
  std::optional<Observation> cluster_;
  bool decided_ = false;
};

}  // namespace

Result<DryRun> rehearse(const RehearsalParts& parts, const api::VirtualMachineImport& import) {
  return Rehearsal(parts, import).run();
}

}  // namespace vmferry::imports
