"""django-oauth-toolkit as a peer: SQLite in WAL, client secrets unhashed (hashed is its default, and takes a second).

Run by gunicorn in an environment of its own; POST /mint makes codes and refresh tokens outside the timed part.
"""

from __future__ import annotations

import datetime
import os
import secrets
from pathlib import Path

import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import include, path
from django.utils import timezone

NAMES = ("APP", "SERVICE", "SECRET", "REDIRECT_URI", "CHALLENGE", "STORE_ADDRESS", "PEM")
APP, SERVICE, SECRET, REDIRECT_URI, CHALLENGE, STORE_ADDRESS, PEM = (os.environ[name] for name in NAMES)
SCOPES = ("openid", "profile", "email", "offline_access", "opaque", "es256", "rs256")

settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # sets Content-Length
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "oauth2_provider"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": STORE_ADDRESS,
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    },
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": Path(PEM).read_text(),
        "OAUTH2_VALIDATOR_CLASS": f"{__name__}.Validator",
        "SCOPES": {scope: scope for scope in SCOPES},
        "ROTATE_REFRESH_TOKEN": True,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 900,
    },
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from oauth2_provider import views  # noqa: E402
from oauth2_provider.models import AccessToken, Application, Grant, RefreshToken  # noqa: E402
from oauth2_provider.oauth2_validators import OAuth2Validator  # noqa: E402


class Validator(OAuth2Validator):
    """What the scopes say about the person."""

    oidc_claim_scope = None

    def get_additional_claims(self, request):
        return {"name": request.user.first_name, "email": request.user.email, "email_verified": True}


def mint(request):
    app, user = Application.objects.get(client_id=APP), get_user_model().objects.get(username="ada")
    kind, scope, count = (request.GET[name] for name in ("kind", "scope", "count"))
    later = timezone.now() + datetime.timedelta(hours=1)
    fresh = [secrets.token_urlsafe(32) for _ in range(int(count))]
    common = {"application": app, "user": user}
    if kind == "code":
        about = {"expires": later, "redirect_uri": REDIRECT_URI, "scope": scope, "nonce": "n", **common}
        proof = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        Grant.objects.bulk_create([Grant(code=code, **about, **proof) for code in fresh])
    else:
        for raw in fresh:
            access = AccessToken.objects.create(token=raw[::-1], expires=later, scope=scope, **common)
            RefreshToken.objects.create(token=raw, access_token=access, **common)
    return JsonResponse(fresh, safe=False)


urlpatterns = [
    path("mint", mint),
    path("oauth/token", views.TokenView.as_view()),
    path("oauth/introspect", views.IntrospectTokenView.as_view()),
    path("oauth/userinfo", views.UserInfoView.as_view()),
    path(".well-known/openid-configuration", views.ConnectDiscoveryInfoView.as_view()),
    path(".well-known/jwks.json", views.JwksInfoView.as_view()),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),  # the names that its metadata look up
]

call_command("migrate", verbosity=0)
if not Application.objects.exists():
    ada = get_user_model().objects.create(username="ada", first_name="Ada Lovelace", email="ada@example.org")
    shared = {"client_secret": SECRET, "hash_client_secret": False, "client_type": "confidential", "algorithm": "RS256"}
    Application.objects.create(
        client_id=APP, user=ada, redirect_uris=REDIRECT_URI, authorization_grant_type="authorization-code", **shared
    )
    Application.objects.create(client_id=SERVICE, authorization_grant_type="client-credentials", **shared)
application = get_wsgi_application()
