#include "coordinator/imports/rehearse.h"

#include "common/catalogue.h"
#include "coordinator/imports/decide.h"
#include "coordinator/imports/mapping.h"
#include "coordinator/imports/names.h"
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

 private:
  std::unique_ptr<Provider> provider_;
};

class Rehearsal {
 public:
  Rehearsal(const RehearsalParts& parts, const api::VirtualMachineImport& import)
      : parts_(parts),
        import_(import),
        seen_{.import = import,
              .findings = check_request(import),
              .unknown_why = {},
              .bytes_per_second = parts.bytes_per_second} {}

  Result<DryRun> run() {
    // Every step notes what it finds; a later one that lacks an earlier one's result is left out.
    if (import_.spec.ovirt.has_value() != import_.spec.vmware.has_value()) {
      TRY(read_source());
      TRY(read_cluster());
      TRY(decide_all());
    }
    return dry_run(std::move(seen_));
  }

 private:
  // A stop ends the run; what may pass leaves the answer open; anything else would block.
  Result<void> note(const Error& error, std::string_view rule) {
    if (error.kind() == ErrorKind::Canceled) return error;
    if (is_retryable(error.kind())) {
      seen_.unknown_why += (seen_.unknown_why.empty() ? "" : "; ") + text_with_remedy(error);
      return {};
    }
    const auto entry = find_catalogue_entry(error.code());
    seen_.findings.push_back({std::string(error.code().empty() ? rule : error.code()),
                              FindingLevel::Block, FindingGroup::Mapping, error.message(),
                              std::string(entry ? entry->remedy : std::string_view())});
    return {};
  }

  Result<SourceVm> find_source() {
    const ProviderCredentials credentials = TRY(observe_credentials(parts_.observer, import_));
    const SessionGuard provider(TRY(parts_.make_provider(credentials)));
    TRY(provider->check_connection(parts_.observer.stop));
    const api::SourceSection& source = source_section(import_.spec);
    return provider->find_vm({.id = source.vm_id,
                              .name = source.vm_name,
                              .cluster_id = source.cluster_id,
                              .cluster_name = source.cluster_name},
                             parts_.observer.stop);
  }

  Result<void> read_source() {
    auto vm = find_source();
    if (!vm) return note(vm.error(), "source");
    seen_.source = *std::move(vm);
    return {};
  }

  Result<void> read_cluster() {
    const auto external = observe_external_mappings(parts_.observer, import_);
    if (!external) TRY(note(external.error(), "mapping"));
    seen_.mappings = merge_mappings(source_section(import_.spec).mappings,
                                    external ? *external : std::optional<api::Mappings>());
    auto cluster = observe_cluster(parts_.observer);
    if (!cluster) return note(cluster.error(), "cluster");
    cluster_ = *std::move(cluster);
    seen_.facts = cluster_->facts;
    return {};
  }

  Result<void> decide_all() {
    if (!seen_.source || !cluster_) return {};
    const auto name = target_vm_name(import_.spec, *seen_.source);
    if (!name) return note(name.error(), "name");
    seen_.vm_name = *name;
    const auto conflict = name_conflict(parts_.observer, import_, *name);
    if (!conflict) {
      TRY(note(conflict.error(), "name"));
    } else if (*conflict) {
      TRY(note(Error(ErrorKind::AlreadyExists, code::kNameTaken, **conflict), "name"));
    }
    const DecisionInput input{.import = import_,
                              .vm = *seen_.source,
                              .mappings = seen_.mappings,
                              .facts = cluster_->facts,
                              .config = cluster_->config,
                              .os_maps = cluster_->os_maps};
    for (Finding& finding : judge(input)) seen_.findings.push_back(std::move(finding));
    auto decision = decide(input, *name);
    if (!decision) return note(decision.error(), "template");
    seen_.os = std::move(decision->os);
    seen_.os_why = std::move(decision->os_why);
    seen_.template_note = std::move(decision->plan.template_note);
    seen_.disks = std::move(decision->plan.disks);
    seen_.vm = kube::Object(std::move(decision->plan.vm));
    return ask_target();
  }

  // Whether the API would take the VM.
  Result<void> ask_target() {
    const auto accepted = parts_.writer.create(kube::types::kVirtualMachine, *seen_.vm,
                                               {.dry_run = true}, parts_.observer.stop);
    if (accepted || accepted.error().kind() == ErrorKind::AlreadyExists) return {};
    return note(accepted.error(), "target");
  }

  const RehearsalParts& parts_;
  const api::VirtualMachineImport& import_;
  DryRunInput seen_;
  std::optional<ClusterView> cluster_;
};

}  // namespace

Result<DryRun> rehearse(const RehearsalParts& parts, const api::VirtualMachineImport& import) {
  return Rehearsal(parts, import).run();
}

}  // namespace vmferry::imports
