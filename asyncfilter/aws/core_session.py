"""botocore's session, with HTTP sessions and parsers of ours for whatever is made from it.

Clients are made in many places: for the rare calls, and by aiobotocore's providers of credentials for STS, SSO and
SSO-OIDC, each with a configuration of its own. ``AioConfig.merge`` drops the HTTP session that was set, and the
fetchers of container and instance metadata take none. Here is the one place that all of them pass.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

from aiobotocore.config import AioConfig
from aiobotocore.configprovider import AioSmartDefaultsConfigStoreFactory
from aiobotocore.credentials import AioContainerProvider, AioCredentialResolver, AioInstanceMetadataProvider
from aiobotocore.session import AioSession
from aiobotocore.utils import AioContainerMetadataFetcher, AioIMDSFetcher, AioIMDSRegionProvider
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.utils import get_environ_proxies

from asyncfilter.aws.http_session import HttpSession, MetadataSession
from asyncfilter.aws.response_parsers import ResponseParsers
from asyncfilter.aws.service_models import ServiceModels
from asyncfilter.aws.trust import ca_setting, trusting


class CoreSession(AioSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session of aiobotocore whose requests are all sent by ``HttpSession``.

    Args:
        profile: The profile; None for the standard AWS settings.

    Attributes:
        ca_setting: The setting that names the trusted authorities; empty for the public ones.
        ca_bundle: Their file or folder.
        tls: The trusted certificates.

    Raises:
        ProfileNotFound: There is no such profile.
        EndpointError: The trusted certificates cannot be read.
    """

    def __init__(self, *, profile: str | None) -> None:
        super().__init__(profile=profile)
        self.ca_setting, self.ca_bundle = ca_setting(self)
        self.tls = trusting(self.ca_bundle)
        self.set_config_variable("ca_bundle", self.ca_bundle)  # botocore 1.43 refuses an empty one, which is none here
        self.register("before-call.s3", _stay_in_region)

    def get_default_client_config(self) -> AioConfig:
        """The configuration that is merged with that of every client, and that clients without one have."""
        given = super().get_default_client_config()
        return _ClientConfig(http_session_cls=partial(HttpSession, self.tls)).merge(given or Config())

    def _create_credential_resolver(self) -> AioCredentialResolver:
        resolver = super()._create_credential_resolver()
        for provider in resolver.providers:
            # Neither fetchers nor providers take a session; those in the chain serve `credential_source` as well.
            if isinstance(provider, AioContainerProvider):
                _use(provider._fetcher, self.tls)  # noqa: SLF001
            elif isinstance(provider, AioInstanceMetadataProvider):
                _use(provider._role_fetcher, self.tls)  # noqa: SLF001
        return resolver

    def _register_response_parser_factory(self) -> None:
        self._components.register_component("response_parser_factory", ResponseParsers())

    def _register_data_loader(self) -> None:
        self._components.lazy_register_component("data_loader", self._service_models)

    def _service_models(self) -> ServiceModels:
        return ServiceModels(create_loader(self.get_config_variable("data_path")).search_paths)

    def _register_smart_defaults_factory(self) -> None:
        self._internal_components.lazy_register_component(
            "smart_defaults_factory",
            lambda: AioSmartDefaultsConfigStoreFactory(
                self._get_internal_component("default_config_resolver"), _RegionProvider(self)
            ),
        )


class _ClientConfig(AioConfig):  # type: ignore[misc]  # aiobotocore has no types
    """A client's configuration that keeps its HTTP session when it is merged."""

    def merge(self, other_config: Config) -> Self:
        merged = type(self)(self.connector_args, self.http_session_cls)
        merged.__dict__.update(vars(super().merge(other_config)), http_session_cls=self.http_session_cls)
        return merged


class _RegionProvider(AioIMDSRegionProvider):  # type: ignore[misc]  # aiobotocore has no types
    """The region of this instance, which ``AWS_DEFAULTS_MODE=auto`` asks for."""

    def __init__(self, core: CoreSession) -> None:
        super().__init__(session=core)
        self._tls = core.tls

    def _create_fetcher(self) -> AioIMDSFetcher:
        fetcher = super()._create_fetcher()
        _use(fetcher, self._tls)
        return fetcher


def _use(fetcher: AioContainerMetadataFetcher | AioIMDSFetcher, tls: ssl.SSLContext) -> None:
    """Let a fetcher of metadata send its requests by a session of ours, with its own timeout and proxies."""
    if isinstance(fetcher, AioContainerMetadataFetcher):
        session = MetadataSession(tls, timeout_s=fetcher.TIMEOUT_SECONDS)
    else:
        proxies = get_environ_proxies(fetcher.get_base_url())
        session = MetadataSession(tls, timeout_s=fetcher._timeout, proxies=proxies)  # noqa: SLF001  no public name
    fetcher._session = session  # noqa: SLF001  taken by the constructor only, which providers call without it


def _stay_in_region(params: Mapping[str, Any], **_: object) -> None:
    """Keep botocore from repeating a request to S3 in a region that an error response names.

    Its handler does so once for each request, unless it has done so already. Regions are looked up by HeadBucket.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
